import { MillraceError } from '../../../lib/errors.ts'
import { quoteIdentifier, quoteTable } from '../../../lib/sql.ts'
import { tableLabel } from '../../source/table.ts'
import type { Batch, FlushResult, RowImage } from '../destination.ts'
import type { LedgerTable } from '../ledger.ts'
import { FINGERPRINT, readTarget, type TargetTable } from './catalog.ts'
import { copyIn } from './copy-in.ts'
import { writeFailure } from './failures.ts'
import type { LedgerContext } from './ledger.ts'
import { findBackfill } from './ledger-backfills.ts'
import { compareAndSet } from './ledger-tables.ts'
import { arrayLiteral, copyLine } from './literals.ts'
import type { Session } from './sessions.ts'
import {
  addEqualSQL,
  analyzeStageSQL,
  copyStageSQL,
  createStageSQL,
  deleteSQL,
  emptySQL,
  type RowSource,
  removeEqualSQL,
  stagedColumn,
  upsertSQL,
  type Writing,
} from './write-sql.ts'
import { writingFor } from './writing.ts'

/** Up to these, rows travel as parameters of one statement: making a temporary table costs more than it saves. */
const INLINE_ROWS = 1000
const INLINE_BYTES = 256 * 1024
const INLINE_COLUMNS = 200
const COPY_BYTES = 64 * 1024

/** Tables of the destination as last seen, by their quoted names. */
export type TargetCache = Map<string, TargetTable>

/** `Destination.flush`. */
export async function flush(
  context: LedgerContext,
  cache: TargetCache,
  batch: Batch,
  signal: AbortSignal,
): Promise<FlushResult> {
  const source = rowSource(batch)
  try {
    return await attempt(context, cache, batch, source, signal)
  } catch (error) {
    // Parameters are refused without saying which; COPY names the column.
    const unnamed = source === 'inline' && error instanceof MillraceError && error.code === 'ValueRejected'
    if (!unnamed) throw error
    return attempt(context, cache, batch, 'stage', signal)
  }
}

async function attempt(
  { sessions, names, pipeline }: LedgerContext,
  cache: TargetCache,
  batch: Batch,
  source: RowSource,
  signal: AbortSignal,
): Promise<FlushResult> {
  const target = batch.ledger.destination
  let writing: Writing | undefined
  let missing: readonly (readonly string[])[] = []
  const rollBack = new Error('rolled back')
  try {
    const ledger = await sessions.transaction(signal, async (session) => {
      // First, not last: a second, stale pod waits here for the row and then fails, before it has touched any of the
      // table's rows, and two that work on one table cannot wait for each other's rows in a circle.
      const moved = await moveLedger(session, names.tables, batch)
      if (writesRows(batch)) {
        const table = await currentTarget(session, cache, batch)
        writing = await writingFor(session, table, {
          target,
          definition: batch.definition,
          options: batch.options,
        })
        await relaxNotNull(session, writing, batch)
        missing = await write(session, writing, batch, source, signal)
        if (missing.length > 0) throw rollBack
      }
      if (batch.drained !== undefined) await drain(session, batch.drained)
      return moved
    })
    if (writing) cache.set(quoteTable(target), writing.table)
    return { kind: 'applied', ledger }
  } catch (error) {
    if (error === rollBack) return { kind: 'missing', keys: missing }
    cache.delete(quoteTable(target))
    const of = writing
    throw writeFailure(error, target, of && ((name) => stagedColumn(of, name)))
  }

  async function drain(session: Session, uid: string): Promise<void> {
    const drained = await session.query(
      `UPDATE ${names.backfills} SET state = 'drained', version = version + 1, changed_at = now()
       WHERE pipeline = $1 AND uid = $2 AND state = 'copied' RETURNING 1`,
      [pipeline, uid],
    )
    if (drained.length > 0) return
    const found = await findBackfill(session, names, pipeline, uid)
    throw new MillraceError(
      'LedgerConflict',
      `backfill ${found?.name ?? uid} cannot become drained: the ledger says ${found?.state ?? 'nothing of it'}`,
    )
  }
}

async function moveLedger(session: Session, tables: string, batch: Batch): Promise<LedgerTable> {
  const { ledger, nextOffset, position, facts } = batch
  // Nothing is applied to a table that a backfill holds (invariant I3), whatever the caller believes.
  return compareAndSet(session, tables, ledger, { ...facts, nextOffset, position }, `held_by = ''`)
}

async function currentTarget(session: Session, cache: TargetCache, { ledger }: Batch): Promise<TargetTable> {
  const name = quoteTable(ledger.destination)
  const known = cache.get(name)
  if (known) {
    const rows = await session.query(`SELECT ${FINGERPRINT} AS fingerprint`, [name])
    if (rows[0]?.fingerprint === known.fingerprint) return known
  }
  const found = await readTarget(session, ledger.destination)
  if (found) return found
  throw new MillraceError(
    'DestinationConflict',
    `destination table ${tableLabel(ledger.destination)} is gone: apply a TableBackfill with destinationTable Drop, which makes it anew`,
    { field: 'spec.tables[].destination' },
  )
}

// A column may have lost its NOT NULL in the source, of which no row event tells.
async function relaxNotNull(session: Session, { table, columns, key }: Writing, batch: Batch): Promise<void> {
  const nulls = columns.filter(
    (column, index) =>
      column.notNull &&
      !key.includes(index) &&
      (batch.upserts.some((row) => row[index] === null) ||
        batch.keyless.some(({ image, count }) => count > 0 && image[index] === null)),
  )
  if (nulls.length === 0) return
  const commands = nulls.map((column) => `ALTER COLUMN ${quoteIdentifier(column.name)} DROP NOT NULL`)
  await session.query(`ALTER TABLE ${quoteTable(table.name)} ${commands.join(', ')}`)
}

/** Writes all rows of the batch; returns the keys of those that lack a row to take unchanged columns from. */
async function write(
  session: Session,
  writing: Writing,
  batch: Batch,
  source: RowSource,
  signal: AbortSignal,
): Promise<readonly (readonly string[])[]> {
  const how = batch.options.deletes === 'Soft' ? 'soft' : 'hard'
  if (batch.truncate) await session.query(emptySQL(writing, how))
  if (batch.deletes.length > 0) {
    const arrays = writing.key.map((_, index) => arrayLiteral(batch.deletes.map((key) => key[index] ?? null)))
    await session.query(deleteSQL(writing, how), arrays)
  }
  if (batch.keyless.length > 0) {
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
  const rows = await session.query(upsertSQL(writing, source, partial), values)
  if (!partial) return []
  return rows.map((row) => {
    const image = batch.upserts[Number(row.n)] as RowImage
    return writing.key.map((index) => image[index] ?? '')
  })
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

function writesRows(batch: Batch): boolean {
  return batch.truncate || batch.upserts.length > 0 || batch.deletes.length > 0 || batch.keyless.length > 0
}

function rowSource({ upserts, definition }: Batch): RowSource {
  if (upserts.length > INLINE_ROWS || definition.columns.length > INLINE_COLUMNS) return 'stage'
  let size = 0
  for (const row of upserts) for (const value of row) size += value?.length ?? 0
  return size > INLINE_BYTES ? 'stage' : 'inline'
}
