import { MillraceError } from '../../../lib/errors.ts'
import { quoteTable } from '../../../lib/sql.ts'
import { type TableName, tableLabel } from '../../source/table.ts'
import type { ChunkRange, Fence, Ledger, LedgerChunk } from '../ledger.ts'
import type { LedgerContext } from './ledger.ts'
import { fenced, findBackfill } from './ledger-backfills.ts'
import { CHUNK_COLUMNS, toChunk } from './ledger-rows.ts'
import type { Session } from './sessions.ts'

type ChunkPart = Pick<Ledger, 'readChunks' | 'recordPlan' | 'splitChunk'>

/** The part of the ledger that is about plans and their chunks (rule R7). */
export function ledgerChunks(context: LedgerContext): ChunkPart {
  const { sessions, names, pipeline } = context

  async function insert(
    session: Session,
    uid: string,
    plan: number,
    ranges: readonly ChunkRange[],
    parent: number | undefined,
  ): Promise<LedgerChunk[]> {
    const rows = await session.query(
      `INSERT INTO ${names.chunks} (pipeline, uid, plan, chunk, parent, range)
       SELECT $1::text, $2::text, $3::integer, next.chunk + r.n - 1, $4::integer, r.range
       FROM jsonb_array_elements($5::jsonb) WITH ORDINALITY AS r (range, n),
         (SELECT coalesce(max(chunk) + 1, 0) AS chunk FROM ${names.chunks}
          WHERE pipeline = $1::text AND uid = $2::text AND plan = $3::integer) AS next
       RETURNING ${CHUNK_COLUMNS}`,
      [pipeline, uid, String(plan), parent === undefined ? null : String(parent), JSON.stringify(ranges)],
    )
    return sorted(rows.map(toChunk))
  }

  return {
    readChunks: (uid, plan, signal) =>
      sessions.use(signal, async (session) => {
        const rows = await session.query(
          `SELECT ${CHUNK_COLUMNS} FROM ${names.chunks}
           WHERE pipeline = $1 AND uid = $2 AND plan = $3 ORDER BY chunk`,
          [pipeline, uid, String(plan)],
        )
        return rows.map(toChunk)
      }),

    recordPlan: (fence, plan, signal) =>
      sessions.transaction(signal, async (session) => {
        const taken = await session.query(
          `UPDATE ${names.backfills} SET plan = $4::integer, scan = $5, snapshot = $6, visibility = $7,
             append = append AND $8::boolean, version = version + 1, changed_at = now()
           WHERE pipeline = $1 AND uid = $2 AND state = 'held' AND attempt = $3 AND plan < $4::integer RETURNING 1`,
          [
            pipeline,
            fence.uid,
            String(fence.attempt),
            String(plan.plan),
            plan.scan,
            plan.snapshot,
            plan.visibility,
            String(plan.append),
          ],
        )
        const found = await findBackfill(session, names, pipeline, fence.uid)
        if (!found || taken.length === 0) {
          if (found?.state === 'held' && found.attempt === fence.attempt) {
            throw new MillraceError(
              'LedgerConflict',
              `plan ${plan.plan} of backfill ${found.name} cannot be recorded: plan ${found.plan} is there already`,
            )
          }
          throw await fenced(session, names, pipeline, fence)
        }
        if (plan.discard) await discard(session, fence, plan.discard)
        await insert(session, fence.uid, plan.plan, plan.ranges, undefined)
        return found
      }),

    splitChunk: (fence, plan, chunk, parts, signal) =>
      sessions.transaction(signal, async (session) => {
        await takeFence(session, fence, plan)
        const of = [pipeline, fence.uid, String(plan), String(chunk)]
        const where = 'pipeline = $1 AND uid = $2 AND plan = $3 AND chunk = $4'
        const split = await session.query(
          `UPDATE ${names.chunks} SET state = 'split', changed_at = now()
           WHERE ${where} AND state = 'planned' RETURNING 1`,
          of,
        )
        if (split.length > 0) return insert(session, fence.uid, plan, parts, chunk)
        // Said twice, because the answer to the first time was lost: the parts are there.
        const there = await session.query(
          `SELECT ${CHUNK_COLUMNS} FROM ${names.chunks}
           WHERE pipeline = $1 AND uid = $2 AND plan = $3 AND parent = $4 ORDER BY chunk`,
          of,
        )
        if (there.length > 0) return there.map(toChunk)
        throw new MillraceError(
          'LedgerConflict',
          `chunk ${chunk} of plan ${plan} cannot be split: it is durable already, or was never planned`,
        )
      }),
  }

  // Whoever still writes a chunk of an earlier plan holds the table until the fence, or this statement's lock, turns it away.
  async function discard(session: Session, fence: Fence, target: TableName): Promise<void> {
    const held = await session.query(
      `SELECT 1 FROM ${names.tables} WHERE pipeline = $1 AND held_by = $2 AND destination_schema = $3 AND destination_table = $4`,
      [pipeline, fence.uid, target.schema, target.name],
    )
    if (held.length === 0) {
      throw new MillraceError(
        'NotHeld',
        `backfill ${fence.uid} does not hold a table that is written to ${tableLabel(target)}`,
      )
    }
    await session.query(`TRUNCATE ${quoteTable(target)}`)
  }

  // Not shared: two splits at once would count up to the same new number.
  async function takeFence(session: Session, fence: Fence, plan: number): Promise<void> {
    const rows = await session.query(
      `SELECT 1 FROM ${names.backfills}
       WHERE pipeline = $1 AND uid = $2 AND state = 'held' AND attempt = $3 AND plan = $4
       FOR NO KEY UPDATE`,
      [pipeline, fence.uid, String(fence.attempt), String(plan)],
    )
    if (rows.length === 0) throw await fenced(session, names, pipeline, fence)
  }
}

function sorted(chunks: LedgerChunk[]): LedgerChunk[] {
  return chunks.sort((a, b) => a.chunk - b.chunk)
}
