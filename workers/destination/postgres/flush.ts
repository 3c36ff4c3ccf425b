import { MillraceError } from '../../../lib/errors.ts'
import { quoteIdentifier, quoteTable } from '../../../lib/sql.ts'
import { tableLabel } from '../../source/table.ts'
import type { Batch, FlushResult } from '../destination.ts'
import type { LedgerTable } from '../ledger.ts'
import { FINGERPRINT, readTarget, type TargetTable } from './catalog.ts'
import { serverCode, writeFailure } from './failures.ts'
import { rowSource, type Way, writeRows } from './flush-rows.ts'
import type { LedgerContext } from './ledger.ts'
import { findBackfill } from './ledger-backfills.ts'
import { compareAndSet } from './ledger-tables.ts'
import type { Session } from './sessions.ts'
import { stagedColumn, type Writing } from './write-sql.ts'
import { writingFor } from './writing.ts'

/** Tables of the destination as last seen, by their quoted names. */
export type TargetCache = Map<string, TargetTable>

/** `Destination.flush`. */
export async function flush(
  context: LedgerContext,
  cache: TargetCache,
  batch: Batch,
  signal: AbortSignal,
): Promise<FlushResult> {
  let way: Way = { source: rowSource(batch), replace: false }
  for (let fresh = false; ; ) {
    const { result, error, writing } = await attempt(context, cache, batch, way, signal)
    if (result) return result
    const code = serverCode(error) ?? ''
    if (code === '23505' && !way.replace && batch.upserts.length > 1) {
      // Rows of the batch may have exchanged what an index of the destination wants to be unique.
      way = { source: 'stage', replace: true }
    } else if (/^22/.test(code) && way.source === 'inline') {
      // Parameters are refused without saying which; COPY names the column.
      way = { ...way, source: 'stage' }
    } else if (/^42/.test(code) && !fresh) {
      // The table has just been altered by somebody else.
      fresh = true
    } else {
      throw writeFailure(error, batch.ledger.destination, writing && ((name) => stagedColumn(writing, name)))
    }
  }
}

interface Attempt {
  readonly result?: FlushResult
  readonly error?: unknown
  readonly writing?: Writing | undefined
}

async function attempt(
  { sessions, names, pipeline }: LedgerContext,
  cache: TargetCache,
  batch: Batch,
  way: Way,
  signal: AbortSignal,
): Promise<Attempt> {
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
        missing = await writeRows(session, writing, batch, way, signal)
        if (missing.length > 0) throw rollBack
      }
      if (batch.drained !== undefined) await drain(session, batch.drained)
      return moved
    })
    if (writing) cache.set(quoteTable(target), writing.table)
    return { result: { kind: 'applied', ledger } }
  } catch (error) {
    if (error === rollBack) return { result: { kind: 'missing', keys: missing } }
    cache.delete(quoteTable(target))
    return { error, writing }
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

function writesRows(batch: Batch): boolean {
  return batch.truncate || batch.upserts.length > 0 || batch.deletes.length > 0 || batch.keyless.length > 0
}
