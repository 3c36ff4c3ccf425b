import type { TextRow } from '../../source/connect.ts'
import type { Batch, RowImage } from '../destination.ts'
import { copyIn } from './copy-in.ts'
import { arrayLiteral, copyLine } from './literals.ts'
import { replaceSQL } from './replace-sql.ts'
import type { Session } from './sessions.ts'
import {
  addEqualSQL,
  analyzeStageSQL,
  copyStageSQL,
  createStageSQL,
  deleteSQL,
  emptySQL,
  insertSQL,
  LOOK_UP_KEYS,
  type RowSource,
  removeEqualSQL,
  upsertSQL,
  type Writing,
} from './write-sql.ts'

/** Up to these, rows travel as parameters of one statement: making a temporary table costs more than it saves. */
const INLINE_ROWS = 1000
const INLINE_BYTES = 256 * 1024
const INLINE_COLUMNS = 200
const COPY_BYTES = 64 * 1024

/** How the rows of a batch get into their table. */
export interface Way {
  readonly source: RowSource
  /** Deletes all rows before it inserts any, from the stage; slower, but in between nothing collides. */
  readonly replace: boolean
}

/** How a batch of this size is best sent. */
export function rowSource({ upserts, keyless, definition }: Batch): RowSource {
  if (definition.columns.length > INLINE_COLUMNS) return 'stage'
  let rows = 0
  let bytes = 0
  const add = (row: RowImage, times: number) => {
    rows += times
    for (const value of row) bytes += (value?.length ?? 0) * times
  }
  for (const row of upserts) add(row, 1)
  for (const { image, count } of keyless) add(image, Math.abs(count))
  return rows > INLINE_ROWS || bytes > INLINE_BYTES ? 'stage' : 'inline'
}

/** Writes all rows of the batch; returns the keys of those that lack a row to take unchanged columns from. */
export async function writeRows(
  session: Session,
  writing: Writing,
  batch: Batch,
  { source, replace }: Way,
  signal: AbortSignal,
): Promise<readonly (readonly string[])[]> {
  const how = batch.options.deletes === 'Soft' ? 'soft' : 'hard'
  if (batch.truncate) await session.query(emptySQL(writing, how))
  const many = source === 'stage' || batch.deletes.length > INLINE_ROWS
  if (many && writing.indexed && !replace) await session.query(LOOK_UP_KEYS)
  if (batch.deletes.length > 0) {
    const arrays = writing.key.map((_, index) => arrayLiteral(batch.deletes.map((key) => key[index] ?? null)))
    await session.query(deleteSQL(writing, how), arrays)
  }
  if (batch.keyless.length > 0 && source === 'inline' && batch.keyless.every(({ count }) => count > 0)) {
    const images = batch.keyless.flatMap(({ image, count }) => Array.from({ length: count }, () => image))
    const arrays = writing.columns.map((_, index) =>
      arrayLiteral(images.map((image) => image[index] ?? null)),
    )
    await session.query(insertSQL(writing), arrays)
  } else if (batch.keyless.length > 0) {
    await stage(session, writing, ['n bigint', 'count bigint'], keylessLines(batch), signal)
    if (batch.keyless.some(({ count }) => count < 0)) await session.query(removeEqualSQL(writing, how))
    if (batch.keyless.some(({ count }) => count > 0)) await session.query(addEqualSQL(writing))
  }
  if (batch.upserts.length === 0) return []
  const partial = batch.upserts.some((row) => row.includes(undefined))
  let values: string[] | undefined
  if (source === 'inline') {
    values = writing.columns.map((_, index) => arrayLiteral(batch.upserts.map((row) => row[index] ?? null)))
    if (partial) values.push(arrayLiteral(batch.upserts.map(unchangedMarks)))
  } else {
    const extra = ['n bigint', ...(partial ? ['u text'] : [])]
    await stage(session, writing, extra, upsertLines(batch.upserts, partial), signal)
    await session.query(analyzeStageSQL(writing))
  }
  const rows = replace
    ? await replaceRows(session, writing, partial)
    : await session.query(upsertSQL(writing, source, partial), values)
  if (!partial) return []
  return rows.map((row) => {
    const image = batch.upserts[Number(row.n)] as RowImage
    return writing.key.map((index) => image[index] ?? '')
  })
}

/** Returns the `n` of rows that cannot be filled, as `upsertSQL` does. */
async function replaceRows(session: Session, writing: Writing, partial: boolean): Promise<TextRow[]> {
  const { keep, missing, remove, insert } = replaceSQL(writing, partial)
  await session.query(keep)
  const unfilled = missing === undefined ? [] : await session.query(missing)
  if (unfilled.length > 0) return unfilled
  for (const statement of [remove, ...insert]) await session.query(statement)
  return []
}

async function stage(
  session: Session,
  writing: Writing,
  extra: readonly string[],
  lines: Iterable<string>,
  signal: AbortSignal,
): Promise<void> {
  await session.query(createStageSQL(writing, extra))
  const sql = copyStageSQL(
    writing,
    extra.map((column) => column.split(' ')[0] as string),
  )
  await copyIn(session, sql, () => buffers(lines), signal)
}

function* keylessLines({ keyless }: Batch): Generator<string> {
  for (const [n, { image, count }] of keyless.entries()) yield copyLine([String(n), String(count), ...image])
}

function* upsertLines(upserts: readonly RowImage[], partial: boolean): Generator<string> {
  for (const [n, row] of upserts.entries()) {
    const extra = partial ? [String(n), unchangedMarks(row)] : [String(n)]
    yield copyLine([...extra, ...row.map((value) => value ?? null)])
  }
}

/** One character per column, 1 for unchanged; null when none is. */
function unchangedMarks(row: RowImage): string | null {
  return row.includes(undefined) ? row.map((value) => (value === undefined ? '1' : '0')).join('') : null
}

function* buffers(lines: Iterable<string>): Generator<Buffer> {
  let gathered = ''
  for (const line of lines) {
    gathered += line
    if (gathered.length >= COPY_BYTES) {
      yield Buffer.from(gathered)
      gathered = ''
    }
  }
  if (gathered !== '') yield Buffer.from(gathered)
}
