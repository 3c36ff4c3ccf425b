import { MillraceError } from '../../../lib/errors.ts'
import { quoteIdentifier, quoteTable } from '../../../lib/sql.ts'
import { tableLabel } from '../../source/table.ts'
import type { ChunkRequest, ChunkResult } from '../destination.ts'
import { readTarget } from './catalog.ts'
import { copyIn } from './copy-in.ts'
import { serverCode, serverColumn, writeFailure } from './failures.ts'
import type { LedgerContext } from './ledger.ts'
import { fenced } from './ledger-backfills.ts'
import type { Session } from './sessions.ts'
import {
  analyzeStageSQL,
  copyStageSQL,
  copyTargetSQL,
  createStageSQL,
  LOOK_UP_KEYS,
  repairSQL,
  stagedColumn,
  type Writing,
} from './write-sql.ts'
import { writingFor } from './writing.ts'

const NOT_WRITTEN: ChunkResult = { rows: 0n, bytes: 0n, written: false }

/**
 * `Destination.writeChunk`: one transaction with the rows and the chunk's row.
 *
 * The backfill's row is read at the start, without a lock, to learn what to do; and again, shared and last before the
 * commit, to make sure that it still stands. So chunks do not wait for each other, a cancel waits only for a commit that
 * has begun, and a chunk that comes after a cancel or for an older attempt finds the row changed (rule R6).
 */
export async function writeChunk(
  { sessions, names, pipeline }: LedgerContext,
  request: ChunkRequest,
  signal: AbortSignal,
): Promise<ChunkResult> {
  const { fence, target } = request
  const of = [pipeline, fence.uid, String(request.plan), String(request.chunk)]
  let writing: Writing | undefined
  try {
    return await sessions.transaction(signal, async (session) => {
      const start = await begin(session)
      if (start === 'done') return NOT_WRITTEN
      const table = await readTarget(session, target)
      if (!table) throw gone(request)
      writing = await writingFor(session, table, request)
      const { rows, bytes } = await load(session, writing, request, start, signal)
      await request.beforeCommit(signal)
      await finish(session, start, rows, bytes)
      return { rows, bytes, written: true }
    })
  } catch (error) {
    const column = stagedName(error, writing)
    if (writing && column !== undefined && serverCode(error) === '23502') {
      throw await relax(writing, column)
    }
    const known = writing
    throw writeFailure(error, target, known && ((name) => stagedColumn(known, name)))
  }

  async function begin(session: Session): Promise<'append' | 'upsert' | 'done'> {
    const rows = await session.query(
      `SELECT b.attempt, b.state, b.plan, b.action_done, b.append, b.snapshot, c.state AS chunk_state
       FROM ${names.backfills} b
       LEFT JOIN ${names.chunks} c ON c.pipeline = b.pipeline AND c.uid = b.uid AND c.plan = $3 AND c.chunk = $4
       WHERE b.pipeline = $1 AND b.uid = $2`,
      of,
    )
    const found = rows[0]
    if (found?.state !== 'held' || found.attempt !== String(fence.attempt)) {
      throw await fenced(session, names, pipeline, fence)
    }
    if (found.plan !== String(request.plan)) throw stale(request, `plan ${found.plan} has replaced it`)
    if (found.chunk_state === 'done') return 'done'
    if (found.chunk_state !== 'planned') {
      throw stale(request, found.chunk_state === 'split' ? 'it was split' : 'it was never planned')
    }
    if (found.action_done !== 't') throw stale(request, 'the destination action has not run yet')
    // Rows of two snapshots in one table could be two versions of one row.
    if (found.append === 't' && found.snapshot === request.snapshot) return 'append'
    if (request.definition.key.length > 0) return 'upsert'
    throw new MillraceError(
      'SnapshotLost',
      `table ${tableLabel(request.definition)} has no key, so that rows of another snapshot cannot be put upon those that are there: it must be emptied and copied as a whole`,
    )
  }

  async function finish(
    session: Session,
    mode: 'append' | 'upsert',
    rows: bigint,
    bytes: bigint,
  ): Promise<void> {
    const done = await session.query(
      `UPDATE ${names.chunks} SET state = 'done', attempt = $5, rows = $6, bytes = $7, changed_at = now()
       WHERE pipeline = $1 AND uid = $2 AND plan = $3 AND chunk = $4 AND state = 'planned' RETURNING 1`,
      [...of, String(fence.attempt), rows.toString(), bytes.toString()],
    )
    const holds = await session.query(
      `SELECT plan = $4 AND (NOT $5::boolean OR append AND snapshot = $6) AS same FROM ${names.backfills}
       WHERE pipeline = $1 AND uid = $2 AND state = 'held' AND attempt = $3 FOR SHARE`,
      [
        pipeline,
        fence.uid,
        String(fence.attempt),
        String(request.plan),
        String(mode === 'append'),
        request.snapshot,
      ],
    )
    if (!holds[0]) throw await fenced(session, names, pipeline, fence)
    if (holds[0].same !== 't') throw stale(request, 'the plan was replaced while it was read')
    if (done.length === 0) throw stale(request, 'it was written or split by somebody else at the same time')
  }

  // A column may have lost its NOT NULL in the source. What was read is lost, so the chunk has to be read again.
  async function relax({ table }: Writing, column: string): Promise<MillraceError> {
    await sessions.use(signal, (session) =>
      session.query(
        `ALTER TABLE ${quoteTable(table.name)} ALTER COLUMN ${quoteIdentifier(column)} DROP NOT NULL`,
      ),
    )
    return new MillraceError(
      'TableChanged',
      `column ${JSON.stringify(column)} of ${tableLabel(request.definition)} has NULLs now, which the destination refused; it takes them from now on`,
      { retryable: true },
    )
  }
}

async function load(
  session: Session,
  writing: Writing,
  request: ChunkRequest,
  mode: 'append' | 'upsert',
  signal: AbortSignal,
): Promise<{ rows: bigint; bytes: bigint }> {
  const read = (reading: AbortSignal) => request.read(reading)
  if (mode === 'append') return copyIn(session, copyTargetSQL(writing), read, signal)
  await session.query(createStageSQL(writing, []))
  const copied = await copyIn(session, copyStageSQL(writing, []), read, signal)
  await session.query(analyzeStageSQL(writing))
  if (request.range.kind === 'ctid') await takeTurn(session, writing)
  if (writing.indexed) await session.query(LOOK_UP_KEYS)
  await session.query(repairSQL(writing))
  return copied
}

/**
 * Lets chunks of blocks be put one after the other. A row that moves between blocks can be in two of them that were read under two
 * snapshots; when its key is not there yet, neither would see the other's row, and both would insert theirs. The lock is a
 * statement of its own, so that the next one sees what was committed before it was granted.
 *
 * Which of the two versions stays does not matter: neither is older than the hold (I2), so whatever made the younger one out of the
 * older is in the queue (I1) and is applied to either.
 *
 * The table is locked before, as by those that have altered it in the same transaction: two locks that all take in one order.
 */
async function takeTurn(session: Session, { table }: Writing): Promise<void> {
  await session.query(`LOCK TABLE ${quoteTable(table.name)} IN ROW EXCLUSIVE MODE`)
  // The turns of all other readers may take longer than a lock is otherwise waited for, and the chunk would be read again.
  await session.query('SET LOCAL lock_timeout = 0')
  await session.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [
    `millrace blocks ${quoteTable(table.name)}`,
  ])
  await session.query('SET LOCAL lock_timeout TO DEFAULT')
}

function stagedName(error: unknown, writing: Writing | undefined): string | undefined {
  const name = serverColumn(error)
  return name === undefined || !writing ? undefined : stagedColumn(writing, name)
}

function stale({ plan, chunk, definition }: ChunkRequest, why: string): MillraceError {
  return new MillraceError(
    'LedgerConflict',
    `chunk ${chunk} of plan ${plan} of table ${tableLabel(definition)} cannot be written: ${why}`,
  )
}

function gone({ target }: ChunkRequest): MillraceError {
  return new MillraceError(
    'DestinationConflict',
    `destination table ${tableLabel(target)} is gone: apply a TableBackfill with destinationTable Drop, which makes it anew`,
    { field: 'spec.tables[].destination' },
  )
}
