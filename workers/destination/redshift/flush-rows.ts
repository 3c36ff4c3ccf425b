import { MillraceError } from '../../../lib/errors.ts'
import { tableLabel } from '../../source/table.ts'
import type { Batch, RowImage } from '../destination.ts'
import { csvLine } from './csv.ts'
import type { Work } from './ledger-store.ts'
import { MAX_VARCHAR } from './redshift-type.ts'
import { removeEqualSQL } from './remove-sql.ts'
import {
  ADD,
  assertFilledSQL,
  createStageSQL,
  DELETE,
  deleteSQL,
  emptySQL,
  FLUSH_STAGE,
  fillCasesSQL,
  fillSQL,
  insertRow,
  insertSQL,
  insertStageSQL,
  keepSQL,
  REMOVE,
  softDeleteSQL,
  truncateSQL,
  UPSERT,
  type Writing,
} from './write-sql.ts'

/** Rows of so many bytes in all travel inside of the statements: no file, no COPY. */
const INLINE_BYTES = 48_000
/** Patterns of unchanged columns that get a statement each. */
const PATTERNS = 12
const BLOCK = 64 * 1024

/** Guard: there was a row for each unchanged column. */
export const FILLED = 'a row for every unchanged column'

/** What one flush does to the table's rows, in statements around the loading of its stage. */
export interface FlushRows {
  readonly writing: Writing
  readonly before: readonly Work[]
  /** The statement that loads the stage with what it has in itself; empty for no rows, undefined when they are too many. */
  readonly inline: readonly Work[] | undefined
  /** The rows for a file, in blocks of CSV. */
  lines(): Iterable<{ readonly text: string; readonly rows: number }>
  readonly after: readonly Work[]
  /** TRUNCATE, which comes last because it commits. */
  readonly last: string | undefined
  /** Keys of rows with unchanged columns, and whether this very batch takes the row away that those could come from. */
  readonly partial: readonly { readonly key: readonly string[]; readonly orphaned: boolean }[]
}

/** A row as it is staged: what to do, a number, and the values. */
type StagedRow = readonly [o: string, n: number, values: readonly (string | null)[]]

export function flushRows(batch: Batch, writing: Writing): FlushRows {
  const { truncate, upserts, deletes, keyless } = batch
  const how = batch.options.deletes === 'Soft' ? 'soft' : 'hard'
  const removes = keyless.some(({ count }) => count < 0)
  const adds = keyless.some(({ count }) => count > 0)
  const staged = upserts.length > 0 || deletes.length > 0 || keyless.length > 0
  // An own transaction of its own is what TRUNCATE is for: rows after it would stand in another one.
  const last = truncate && how === 'hard' && !staged ? truncateSQL(writing) : undefined
  const patterns = patternsOf(upserts)

  return {
    writing,
    before: [
      ...(truncate && last === undefined ? [{ sql: emptySQL(writing, how) }] : []),
      ...(staged ? [{ sql: createStageSQL(writing, FLUSH_STAGE) }] : []),
    ],
    inline: staged ? inlineRows() : [],
    lines,
    after: [...fill(), ...change()],
    last,
    partial: partialKeys(),
  }

  function partialKeys(): FlushRows['partial'] {
    if (patterns.size === 0) return []
    const gone = new Set(deletes.map((key) => JSON.stringify(key)))
    return upserts.flatMap((image) => {
      if (!image.includes(undefined)) return []
      const key = writing.key.map((index) => image[index] ?? '')
      return [{ key, orphaned: truncate || gone.has(JSON.stringify(key)) }]
    })
  }

  function* rows(): Generator<StagedRow> {
    for (const image of upserts) {
      const n = image.includes(undefined) ? (patterns.get(patternOf(image))?.n ?? 0) : 0
      yield [UPSERT, n, image.map((value) => value ?? null)]
    }
    for (const key of deletes) {
      const values = writing.columns.map((_, index) => {
        const place = writing.key.indexOf(index)
        return place < 0 ? null : (key[place] ?? null)
      })
      yield [DELETE, 0, values]
    }
    for (const { image, count } of keyless) {
      if (count < 0) yield [REMOVE, -count, comparable(image)]
      for (let copy = 0; copy < count; copy += 1) yield [ADD, 0, image]
    }
  }

  /** Without a key a row is found by all of its values, and Redshift has no text of a large document to compare. */
  function comparable(image: readonly (string | null)[]): readonly (string | null)[] {
    const large = image.findIndex(
      (value, index) =>
        value !== null &&
        writing.columns[index]?.type.kind === 'super' &&
        Buffer.byteLength(value) > MAX_VARCHAR,
    )
    if (large < 0) return image
    throw new MillraceError(
      'ValueRejected',
      `a row of table ${tableLabel(batch.ledger.table)} cannot be found in Redshift to be removed: the table has no key, and column ${JSON.stringify(writing.columns[large]?.name)} has a document of more than ${MAX_VARCHAR} bytes, which Redshift does not compare. Give the table a primary key, or exclude the column by the table's columns.exclude, and apply a TableBackfill with destinationTable Drop`,
    )
  }

  function inlineRows(): Work[] | undefined {
    const types = [...FLUSH_STAGE.extra.map(({ type }) => type), ...writing.columns.map(({ type }) => type)]
    const tuples: string[] = []
    let bytes = 0
    for (const [o, n, values] of rows()) {
      const tuple = insertRow(types, [o, String(n), ...values])
      bytes += Buffer.byteLength(tuple) + 2
      if (bytes > INLINE_BYTES) return undefined
      tuples.push(tuple)
    }
    return [{ sql: insertStageSQL(writing, FLUSH_STAGE, tuples) }]
  }

  function* lines(): Generator<{ text: string; rows: number }> {
    let text = ''
    let count = 0
    for (const [o, n, values] of rows()) {
      text += csvLine([o, String(n), ...values])
      count += 1
      if (text.length < BLOCK) continue
      yield { text, rows: count }
      text = ''
      count = 0
    }
    if (count > 0) yield { text, rows: count }
  }

  function fill(): Work[] {
    if (patterns.size === 0) return []
    const list = [...patterns.values()]
    // CASE between two values of SUPER is known to fail for large ones, so it is for many patterns only.
    const fills =
      list.length <= PATTERNS
        ? list.map(({ n, unchanged }) => fillSQL(writing, n, unchanged))
        : [
            fillCasesSQL(
              writing,
              list.map(({ unchanged }) => unchanged),
            ),
          ]
    return [...fills.map((sql) => ({ sql })), { sql: assertFilledSQL(), guard: FILLED }]
  }

  function change(): Work[] {
    const sql: string[] = []
    const emptied = truncate && how === 'hard'
    if (upserts.length > 0 && !emptied) sql.push(...keepSQL(writing, FLUSH_STAGE))
    if (how === 'soft') {
      if (deletes.length > 0) sql.push(softDeleteSQL(writing))
      if (upserts.length > 0) sql.push(deleteSQL(writing, FLUSH_STAGE, UPSERT))
    } else if (!emptied && upserts.length + deletes.length > 0) sql.push(deleteSQL(writing, FLUSH_STAGE))
    if (upserts.length > 0) sql.push(...insertSQL(writing, FLUSH_STAGE, UPSERT))
    if (removes) sql.push(...removeEqualSQL(writing, how))
    if (adds) sql.push(...insertSQL(writing, FLUSH_STAGE, ADD))
    return sql.map((each) => ({ sql: each }))
  }
}

/** The different sets of unchanged columns, numbered from 1. */
function patternsOf(upserts: readonly RowImage[]): Map<string, { n: number; unchanged: number[] }> {
  const found = new Map<string, { n: number; unchanged: number[] }>()
  for (const image of upserts) {
    if (!image.includes(undefined)) continue
    const pattern = patternOf(image)
    if (found.has(pattern)) continue
    const unchanged = image.flatMap((value, index) => (value === undefined ? [index] : []))
    found.set(pattern, { n: found.size + 1, unchanged })
  }
  return found
}

function patternOf(image: RowImage): string {
  return image.map((value) => (value === undefined ? '1' : '0')).join('')
}
