import { MillraceError } from '../../../lib/errors.ts'
import type { TableName } from '../../source/table.ts'
import type { Ledger, LedgerBackfill, LedgerTable } from '../ledger.ts'
import type { LedgerContext } from './ledger.ts'
import { IS_BACKFILL, listBackfills } from './ledger-list.ts'
import {
  backfillContent,
  backfillId,
  chunkPrefix,
  TABLE_ID,
  tableContent,
  toBackfill,
  toTable,
} from './ledger-rows.ts'
import { GuardFailed, type LedgerTransaction } from './ledger-store.ts'
import { literal } from './literals.ts'
import type { RowWrite } from './transaction-sql.ts'
import {
  assertFence,
  changed,
  closedBackfill,
  conflict,
  heldBackfill,
  heldTable,
  notHeld,
} from './transitions.ts'

type BackfillPart = Pick<
  Ledger,
  'readBackfill' | 'readBackfills' | 'recordHeld' | 'closeBackfill' | 'beginAttempt' | 'recordCopied'
>

/** Ended backfills are kept this long, for people who look; nothing depends on them any more. */
const KEPT_DAYS = 30
const ATTEMPTS = 20

const NAME = 'millrace ledger backfill'

/** A backfill, and the table that it is of, as read together. */
interface Found {
  readonly ledger: string
  readonly backfill: LedgerBackfill | undefined
  readonly table: LedgerTable | undefined
}

/** The part of the ledger that is about the states of a backfill: held → copied → drained, or held → closed. */
export function ledgerBackfills(context: LedgerContext): BackfillPart {
  const { store, known, now } = context
  const { names, pipeline } = store

  async function ledgerOf(uid: string, signal: AbortSignal): Promise<string | undefined> {
    const remembered = known.ledgerOf(uid)
    if (remembered !== undefined) return remembered
    const rows = await store.query(
      `SELECT ledger FROM ${names.backfills} WHERE pipeline = ${literal(pipeline)} AND uid = ${literal(uid)}`,
      NAME,
      signal,
    )
    return rows[0] && names.named(rows[0].ledger ?? '')
  }

  async function find(ledger: string, uid: string, signal: AbortSignal): Promise<Found> {
    const rows = await store.readIds(ledger, [TABLE_ID, backfillId(uid)], signal)
    const [backfill, table] = [rows.get(backfillId(uid)), rows.get(TABLE_ID)]
    const found = backfill && toBackfill(backfill)
    if (found) known.remember(ledger, found)
    return { ledger, backfill: found, table: table && toTable(table) }
  }

  async function findByUid(uid: string, signal: AbortSignal): Promise<Found | undefined> {
    const ledger = await ledgerOf(uid, signal)
    return ledger === undefined ? undefined : find(ledger, uid, signal)
  }

  const index = (uid: string, table: TableName) => ({
    sql: `INSERT INTO ${names.backfills} (pipeline, uid, ledger) VALUES (${[pipeline, uid, nameOf(store.of(table))].map(literal).join(', ')})`,
  })

  const write = (backfill: LedgerBackfill, from: bigint | undefined): RowWrite => ({
    content: backfillContent(backfill, now()),
    from,
  })

  /** The table without its hold, if this backfill has it. */
  const freed = ({ table }: Found, uid: string): RowWrite[] =>
    table?.heldBy === uid ? [{ content: tableContent({ ...table, heldBy: '' }), from: table.version }] : []

  /** Reads, decides, and commits what was decided if nothing has changed meanwhile; else from the beginning. */
  async function decide<T>(
    read: () => Promise<Found>,
    decision: (found: Found) => { readonly result: T; readonly transaction?: LedgerTransaction },
    signal: AbortSignal,
  ): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      const { result, transaction } = decision(await read())
      if (!transaction) return result
      try {
        await store.commit(transaction, signal)
        return result
      } catch (error) {
        if (!(error instanceof GuardFailed)) throw error
        if (attempt >= ATTEMPTS) throw conflict('the ledger changes faster than this process can follow')
      }
    }
  }

  return {
    async readBackfill(uid, signal) {
      return (await findByUid(uid, signal))?.backfill
    },

    async readBackfills(table, signal) {
      const ledger = store.of(table)
      const rows = await store.read(ledger, IS_BACKFILL, signal)
      return listBackfills(context, new Map([[ledger, rows]]))
    },

    async recordHeld(row, hold, signal) {
      const ledger = store.of(row.table)
      // A copy of the same hold, or the same call made again: there is nothing to do (rule R4).
      if (row.heldBy === hold.uid) {
        const { backfill } = await find(ledger, hold.uid, signal)
        if (backfill?.state === 'held') return row
        throw backfill ? notHeld(hold.uid, backfill) : changed(row)
      }
      const table = heldTable(row, hold)
      const backfill = heldBackfill(row, hold)
      const transaction: LedgerTransaction = {
        ledger,
        name: NAME,
        expect: [
          { id: TABLE_ID, version: row.version },
          { id: backfillId(hold.uid), version: undefined },
        ],
        work: [
          index(hold.uid, row.table),
          // Of the table's earlier backfills none is going on.
          { sql: `DELETE FROM ${ledger} WHERE id LIKE 'chunk %'` },
          {
            sql: `DELETE FROM ${ledger} WHERE id LIKE 'backfill %' AND changed_at < DATEADD(day, -${KEPT_DAYS}, SYSDATE)`,
          },
        ],
        writes: [{ content: tableContent(table), from: row.version }, write(backfill, undefined)],
      }
      try {
        await store.commit(transaction, signal)
      } catch (error) {
        if (!(error instanceof GuardFailed)) throw error
        const found = await find(ledger, hold.uid, signal)
        if (found.backfill) throw notHeld(hold.uid, found.backfill)
        throw changed(row)
      }
      known.remember(ledger, { ...backfill, version: 1n })
      return { ...table, version: row.version + 1n }
    },

    async closeBackfill(closed, signal) {
      const ledger = await store.ensure(closed.table, signal)
      const id = backfillId(closed.uid)
      return decide(
        () => find(ledger, closed.uid, signal),
        (found) => {
          const next = closedBackfill(found.backfill, closed)
          if (next === found.backfill) return { result: next }
          const version = found.backfill?.version
          const table = freed(found, closed.uid)
          return {
            result: { ...next, version: (version ?? 0n) + 1n },
            transaction: {
              ledger,
              name: NAME,
              expect: [{ id, version }, ...table.map(({ from }) => ({ id: TABLE_ID, version: from }))],
              work: version === undefined ? [index(closed.uid, closed.table)] : [],
              writes: [write(next, version), ...table],
            },
          }
        },
        signal,
      )
    },

    async beginAttempt(uid, signal) {
      known.forget(uid)
      const ledger = await ledgerOf(uid, signal)
      if (ledger === undefined) throw notHeld(uid, undefined)
      return decide(
        () => find(ledger, uid, signal),
        ({ backfill }) => {
          if (backfill?.state !== 'held') throw notHeld(uid, backfill)
          const next = { ...backfill, attempt: backfill.attempt + 1 }
          const result = { ...next, version: backfill.version + 1n }
          known.remember(ledger, result)
          return {
            result,
            transaction: {
              ledger,
              name: NAME,
              expect: [{ id: backfillId(uid), version: backfill.version }],
              writes: [write(next, backfill.version)],
              // Two pods that begin at the same version do not do the same, although they write the same.
              identity: `${process.pid} ${now()} ${Math.random()}`,
            },
          }
        },
        signal,
      )
    },

    async recordCopied(fence, signal) {
      const ledger = await ledgerOf(fence.uid, signal)
      if (ledger === undefined) throw notHeld(fence.uid, undefined)
      for (let attempt = 1; ; attempt += 1) {
        const found = await find(ledger, fence.uid, signal)
        const { backfill } = found
        // Said twice, because the answer to the first time was lost.
        if (backfill?.attempt === fence.attempt && /copied|drained/.test(backfill.state)) return backfill
        assertFence(backfill, fence)
        await assertWhole(ledger, backfill, signal)
        const next = { ...backfill, state: 'copied' as const }
        const table = freed(found, fence.uid)
        try {
          await store.commit(
            {
              ledger,
              name: NAME,
              expect: [
                { id: backfillId(fence.uid), version: backfill.version },
                ...table.map(({ from }) => ({ id: TABLE_ID, version: from })),
              ],
              writes: [write(next, backfill.version), ...table],
            },
            signal,
          )
          return { ...next, version: backfill.version + 1n }
        } catch (error) {
          if (!(error instanceof GuardFailed) || attempt >= ATTEMPTS) throw error
        }
      }
    },
  }

  // Chunks move the backfill's version, so what is found here holds if that is still the same.
  async function assertWhole(ledger: string, backfill: LedgerBackfill, signal: AbortSignal): Promise<void> {
    const planned = await store.read(
      ledger,
      `id LIKE ${literal(`${chunkPrefix(backfill.uid, backfill.plan)}%`)} AND state = 'planned'`,
      signal,
    )
    if (backfill.actionDone && backfill.plan > 0 && planned.length === 0) return
    throw new MillraceError(
      'Internal',
      `backfill ${backfill.uid} is not copied: its action is not done, or chunks of its plan are not`,
    )
  }
}

function nameOf(quoted: string): string {
  return quoted.slice(quoted.lastIndexOf('.') + 2, -1)
}
