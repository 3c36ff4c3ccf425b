import { MillraceError } from '../../../lib/errors.ts'
import { type TableName, tableLabel } from '../../source/table.ts'
import type { ChunkRange, Ledger, LedgerBackfill, LedgerChunk, LedgerTable } from '../ledger.ts'
import type { LedgerContext } from './ledger.ts'
import {
  backfillContent,
  backfillId,
  chunkContent,
  chunkId,
  chunkPrefix,
  plannedChunk,
  type StoredRow,
  TABLE_ID,
  toBackfill,
  toChunk,
  toTable,
} from './ledger-rows.ts'
import { GuardFailed } from './ledger-store.ts'
import { literal } from './literals.ts'
import { quoteTableName } from './names.ts'
import type { RowWrite } from './transaction-sql.ts'
import { assertFence, conflict, notHeld, plannedBackfill } from './transitions.ts'

type ChunkPart = Pick<Ledger, 'readChunks' | 'recordPlan' | 'splitChunk'>

const NAME = 'millrace ledger chunks'
const ATTEMPTS = 20

/** The part of the ledger that is about plans and their chunks (rule R7). */
export function ledgerChunks(context: LedgerContext): ChunkPart {
  const { store, known, now } = context

  async function ledgerOf(uid: string, signal: AbortSignal): Promise<string> {
    const ledger = known.ledgerOf(uid)
    if (ledger !== undefined) return ledger
    // A ledger that is not known yet is found by reading the backfill.
    await context.readBackfill(uid, signal)
    const found = known.ledgerOf(uid)
    if (found === undefined) throw notHeld(uid, undefined)
    return found
  }

  async function readPlan(
    ledger: string,
    uid: string,
    plan: number,
    signal: AbortSignal,
  ): Promise<StoredRow[]> {
    const rows = await store.read(ledger, `id LIKE ${literal(`${chunkPrefix(uid, plan)}%`)}`, signal)
    known.rememberChunks(uid, plan, rows, true)
    return rows
  }

  function planned(
    uid: string,
    plan: number,
    first: number,
    ranges: readonly ChunkRange[],
    parent?: number,
  ): RowWrite[] {
    return ranges.map((range, index) => ({
      content: chunkContent(uid, plan, plannedChunk(first + index, range), parent),
      from: undefined,
    }))
  }

  /** Remembers rows that were written. */
  function remember(uid: string, plan: number, writes: readonly RowWrite[], whole: boolean): LedgerChunk[] {
    const rows = writes.map(({ content, from }) => ({
      id: content.id,
      state: content.state,
      version: (from ?? 0n) + 1n,
      facts: JSON.stringify(content.facts),
    }))
    known.rememberChunks(uid, plan, rows, whole)
    return sorted(rows.map(toChunk))
  }

  return {
    async readChunks(uid, plan, signal) {
      const ledger = await ledgerOf(uid, signal)
      return sorted((await readPlan(ledger, uid, plan, signal)).map(toChunk))
    },

    async recordPlan(fence, plan, signal) {
      const { uid } = fence
      const ledger = await ledgerOf(uid, signal)
      for (let attempt = 1; ; attempt += 1) {
        const rows = await store.readIds(ledger, [TABLE_ID, backfillId(uid)], signal)
        const row = rows.get(backfillId(uid))
        const found = row && toBackfill(row)
        assertFence(found, fence)
        const table = rows.get(TABLE_ID)
        if (plan.discard) assertOwn(table && toTable(table), uid, plan.discard)
        const next = plannedBackfill(found, plan)
        const chunks = planned(uid, plan.plan, 0, plan.ranges)
        const loaded = await context.loadRows(ledger, chunks, signal)
        try {
          await store.commit(
            {
              ledger,
              name: NAME,
              expect: [
                { id: backfillId(uid), version: found.version },
                ...(plan.discard && table ? [{ id: TABLE_ID, version: table.version }] : []),
              ],
              work: [
                ...(plan.discard ? [{ sql: `DELETE FROM ${quoteTableName(plan.discard)}` }] : []),
                ...loaded.work,
              ],
              writes: [{ content: backfillContent(next, now()), from: found.version }, ...loaded.writes],
            },
            signal,
          )
        } catch (error) {
          if (!(error instanceof GuardFailed) || attempt >= ATTEMPTS) throw error
          continue
        } finally {
          loaded.done()
        }
        remember(uid, plan.plan, chunks, true)
        const result = { ...next, version: found.version + 1n }
        known.remember(ledger, result)
        return result
      }
    },

    async splitChunk(fence, plan, chunk, parts, signal) {
      const { uid } = fence
      const ledger = await ledgerOf(uid, signal)
      for (let attempt = 1; ; attempt += 1) {
        const id = chunkId(uid, plan, chunk)
        const [backfillRow, rows] = await Promise.all([
          store.readIds(ledger, [backfillId(uid)], signal).then((found) => found.get(backfillId(uid))),
          readPlan(ledger, uid, plan, signal),
        ])
        const backfill = backfillRow && toBackfill(backfillRow)
        assertFence(backfill, fence)
        known.remember(ledger, backfill)
        if (backfill.plan !== plan) throw replaced(backfill, plan)
        const row = rows.find((each) => each.id === id)
        if (row?.state === 'split') {
          // Said twice, because the answer to the first time was lost: the parts are there.
          return sorted(
            rows.filter((each) => known.chunk(uid, plan, toChunk(each).chunk)?.parent === chunk).map(toChunk),
          )
        }
        if (row?.state !== 'planned') {
          throw conflict(
            `chunk ${chunk} of plan ${plan} cannot be split: it is durable already, or was never planned`,
          )
        }
        const next = Math.max(...rows.map((each) => toChunk(each).chunk)) + 1
        const split: RowWrite = {
          content: chunkContent(
            uid,
            plan,
            { ...toChunk(row), state: 'split' },
            known.chunk(uid, plan, chunk)?.parent,
          ),
          from: row.version,
        }
        const added = planned(uid, plan, next, parts, chunk)
        try {
          await store.commit(
            {
              ledger,
              name: NAME,
              expect: [
                { id: backfillId(uid), version: backfill.version },
                { id, version: row.version },
              ],
              writes: [
                { content: backfillContent(backfill, now()), from: backfill.version },
                split,
                ...added,
              ],
            },
            signal,
          )
        } catch (error) {
          if (!(error instanceof GuardFailed) || attempt >= ATTEMPTS) throw error
          continue
        }
        known.remember(ledger, { ...backfill, version: backfill.version + 1n })
        remember(uid, plan, [split], false)
        return remember(uid, plan, added, false)
      }
    },
  }
}

function replaced({ name, plan }: LedgerBackfill, wanted: number): MillraceError {
  return new MillraceError(
    'Fenced',
    `plan ${wanted} of backfill ${name} is not the one that it is at: ${plan}`,
  )
}

/** Nothing but the table that the backfill holds is emptied. */
function assertOwn(table: LedgerTable | undefined, uid: string, discard: TableName): void {
  if (table?.heldBy === uid && quoteTableName(table.destination) === quoteTableName(discard)) return
  throw new MillraceError(
    'NotHeld',
    `backfill ${uid} does not hold a table that is written to ${tableLabel(discard)}`,
  )
}

function sorted(chunks: LedgerChunk[]): LedgerChunk[] {
  return chunks.sort((a, b) => a.chunk - b.chunk)
}
