import { createHash } from 'node:crypto'
import { MillraceError } from '../../../lib/errors.ts'
import { tableLabel } from '../../source/table.ts'
import type { Batch, FlushResult } from '../destination.ts'
import type { LedgerBackfill, LedgerTable } from '../ledger.ts'
import { readTarget, sameTableFrom, type TargetTable } from './catalog.ts'
import type { Loadable, RedshiftContext } from './context.ts'
import { tableGone, workName, writingFor } from './ensure-table.ts'
import { isMissingColumn, isMissingTable, StatementFailure } from './failures.ts'
import { FILLED, type FlushRows, flushRows } from './flush-rows.ts'
import { backfillContent, backfillId, TABLE_ID, tableContent, toBackfill } from './ledger-rows.ts'
import { GuardFailed, type LedgerTransaction, type Work } from './ledger-store.ts'
import { writeFailure } from './load-failure.ts'
import { missingRows } from './missing-rows.ts'
import { foldName, quoteTableName } from './names.ts'
import { assertSQL } from './transaction-sql.ts'
import { changed, conflict } from './transitions.ts'
import { createUpload } from './upload.ts'
import { copyStageSQL, countCopiedSQL, FLUSH_STAGE, type Writing } from './write-sql.ts'

/** Guard: nobody has put another table into the place of the one that was seen, or added a column to it. */
const SAME_TABLE = 'the table is the one that it was'

/**
 * `Destination.flush`: at most one file with its manifest and one transaction, which moves the ledger's row as well. What it did
 * is asked of the ledger where no answer came.
 */
export async function flush(
  context: RedshiftContext,
  batch: Batch,
  signal: AbortSignal,
): Promise<FlushResult> {
  // Nothing is applied to a table that a backfill holds (invariant I3); the transaction's guard makes sure that this is still so.
  if (batch.ledger.heldBy !== '') throw changed(batch.ledger)
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await attemptFlush(context, batch, signal)
    } catch (error) {
      // The table is not what this process remembers; once is enough to learn what it is now.
      const isOther = error instanceof StatementFailure || error instanceof GuardFailed
      if (isOther && attempt === 1) continue
      if (error instanceof GuardFailed) throw conflict(`${error.message}: somebody alters the table`)
      throw error instanceof StatementFailure
        ? await writeFailure(context, error, batch.ledger.destination, undefined, signal)
        : error
    }
  }
}

async function attemptFlush(
  context: RedshiftContext,
  batch: Batch,
  signal: AbortSignal,
): Promise<FlushResult> {
  const { store } = context
  const { ledger, nextOffset, position, facts } = batch
  const next: LedgerTable = { ...ledger, ...facts, nextOffset, position }
  const writing = writesRows(batch)
    ? await writingFor(context, { target: ledger.destination, ...batch }, signal)
    : undefined
  const drained = batch.drained === undefined ? undefined : await copiedBackfill(context, batch, signal)
  const rows = writing && flushRows(batch, writing)
  if (rows?.partial.some(({ orphaned }) => orphaned)) return missingRows(context, batch, rows, signal)
  const loaded = rows && (await load(context, batch, rows, signal))
  const transaction: LedgerTransaction = {
    ledger: store.of(ledger.table),
    name: `millrace apply ${tableLabel(ledger.destination)}`,
    expect: [
      { id: TABLE_ID, version: ledger.version },
      ...(drained ? [{ id: backfillId(drained.uid), version: drained.version }] : []),
    ],
    work: rows && loaded ? [...rows.before, ...loaded.work, ...rows.after, sameTable(rows.writing)] : [],
    writes: [
      { content: tableContent(next), from: ledger.version },
      ...(drained
        ? [
            {
              content: backfillContent({ ...drained, state: 'drained' }, context.now()),
              from: drained.version,
            },
          ]
        : []),
    ],
    ...(rows?.last !== undefined && { last: rows.last }),
  }
  try {
    await store.commit(transaction, signal, (failure) => failure)
  } catch (error) {
    if (error instanceof GuardFailed) {
      context.files.discard(loaded?.keys ?? [])
      if (error.guard === FILLED && rows) return missingRows(context, batch, rows, signal)
      if (error.guard === SAME_TABLE && writing) {
        throw (await whatWasDone(context, batch, writing.table, writing, signal)) ?? error
      }
      throw error.guard === undefined ? changed(ledger) : lost(batch, error.guard)
    }
    if (error instanceof StatementFailure) {
      context.files.discard(loaded?.keys ?? [])
      throw await failed(context, batch, error, writing, signal)
    }
    // Nobody knows what became of it: the file stays until it is swept.
    throw error
  }
  context.files.discard(loaded?.keys ?? [])
  return { kind: 'applied', ledger: { ...next, version: ledger.version + 1n } }
}

/** The failure itself where another try may mend it, else the error that tells of it. */
async function failed(
  context: RedshiftContext,
  batch: Batch,
  failure: StatementFailure,
  writing: Writing | undefined,
  signal: AbortSignal,
): Promise<unknown> {
  const { destination } = batch.ledger
  const before = context.targets.get(quoteTableName(destination))
  if (before && (isMissingTable(failure) || isMissingColumn(failure))) {
    return (await whatWasDone(context, batch, before, writing, signal)) ?? failure
  }
  if (isMissingTable(failure)) return tableGone({ target: destination })
  return writeFailure(context, failure, destination, writing, signal)
}

/** What was done to the table by hand; undefined: only to columns that are the destination's own, of which the next try knows. */
async function whatWasDone(
  context: RedshiftContext,
  batch: Batch,
  before: TargetTable,
  writing: Writing | undefined,
  signal: AbortSignal,
): Promise<unknown> {
  const { destination } = batch.ledger
  context.targets.delete(quoteTableName(destination))
  const found = await readTarget(context.store, destination, signal)
  if (!found) return tableGone({ target: destination })
  if (found.id !== before.id) return remade(batch)
  const gone = writing?.columns.find((column) => !has(found, column.name))
  return gone && withoutColumn(batch, gone.name)
}

const has = ({ columns }: TargetTable, column: string) =>
  columns.some(({ name }) => name === foldName(column))

/** Comes after the writes: what they have locked cannot be exchanged any more. */
function sameTable({ table }: Writing): Work {
  return { sql: assertSQL('COUNT(*) = 1', sameTableFrom(table)), guard: SAME_TABLE }
}

function remade({ ledger }: Batch): MillraceError {
  return changedByHand(ledger, 'was dropped and made again')
}

function withoutColumn({ ledger }: Batch, column: string): MillraceError {
  return changedByHand(ledger, `has lost its column ${JSON.stringify(column)}`)
}

/** Nothing was written. Apply looks at the table before it writes again, and says what is lost. */
function changedByHand({ destination }: LedgerTable, what: string): MillraceError {
  return new MillraceError('DestinationChanged', `destination table ${tableLabel(destination)} ${what}`)
}

function lost({ ledger }: Batch, guard: string): MillraceError {
  return new MillraceError(
    'DestinationUnavailable',
    `destination table ${tableLabel(ledger.destination)}: COPY has not loaded what was sent (${guard}); nothing was written`,
  )
}

async function copiedBackfill(
  { store, known }: RedshiftContext,
  { ledger, drained = '' }: Batch,
  signal: AbortSignal,
): Promise<LedgerBackfill> {
  const name = store.of(ledger.table)
  const row = (await store.readIds(name, [backfillId(drained)], signal)).get(backfillId(drained))
  const found = row && toBackfill(row)
  if (found) known.remember(name, found)
  if (found?.state === 'copied') return found
  // It may have been this very flush, of which the answer was lost: the transaction's guard tells.
  if (found?.state === 'drained') return { ...found, version: found.version - 1n }
  throw conflict(
    `backfill ${found?.name ?? drained} cannot become drained: the ledger says ${found?.state ?? 'nothing of it'}`,
  )
}

/** Brings the rows into the stage: inside of statements when they are few, else through a file. */
async function load(
  context: RedshiftContext,
  batch: Batch,
  rows: FlushRows,
  signal: AbortSignal,
): Promise<{ work: readonly Work[]; keys: readonly string[] }> {
  if (rows.inline) return { work: rows.inline, keys: [] }
  const { files } = context
  const { ledger } = batch
  const hash = createHash('sha256')
  const name = workName(ledger.pipeline, ledger.table.schema, ledger.table.name, ledger.version)
  const upload = createUpload({
    objects: await files.objects(),
    prefix: `${files.prefix}apply/${name}-`,
    fileBytes: Number.POSITIVE_INFINITY,
  })
  let uploaded: Loadable | undefined
  let count = 0n
  try {
    for (const block of rows.lines()) {
      const bytes = Buffer.from(block.text)
      hash.update(bytes)
      count += BigInt(block.rows)
      await upload.write(bytes, signal)
    }
    const keys = await upload.finish(signal)
    uploaded = await files.manifest(keys, `apply/${name}-${hash.digest('hex').slice(0, 16)}`, signal)
  } catch (error) {
    upload.abandon()
    files.discard(upload.keys)
    throw error
  }
  return {
    work: [
      { sql: copyStageSQL(rows.writing, FLUSH_STAGE, uploaded.source) },
      { sql: countCopiedSQL(count), guard: 'the number of rows' },
    ],
    keys: uploaded.keys,
  }
}

function writesRows(batch: Batch): boolean {
  return batch.truncate || batch.upserts.length > 0 || batch.deletes.length > 0 || batch.keyless.length > 0
}
