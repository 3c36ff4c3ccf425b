import type { DataApi } from './data-api.ts'
import { isMissingTable, StatementFailure } from './failures.ts'
import { ROW_COLUMNS, type StoredRow, toStored } from './ledger-rows.ts'
import { literal } from './literals.ts'

/** Rows of ledgers; a ledger that is missing has none. `where` is SQL. */
export interface LedgerReads {
  read(ledger: string, where: string, signal: AbortSignal): Promise<StoredRow[]>
  readIds(ledger: string, ids: readonly string[], signal: AbortSignal): Promise<Map<string, StoredRow>>
  /** Of many, by ledger. */
  readMany(ledgers: readonly string[], where: string, signal: AbortSignal): Promise<Map<string, StoredRow[]>>
  /** The same, of as many as answer within some seconds; the others, which somebody has locked, are named. */
  readSoon(
    ledgers: readonly string[],
    where: string,
    signal: AbortSignal,
  ): Promise<{ readonly rows: Map<string, StoredRow[]>; readonly locked: readonly string[] }>
}

/** Ledgers that one query reads. */
const UNION = 60
/** How long `readSoon` waits for one query, milliseconds. */
const SOON = 15_000

/** @param query throws `StatementFailure` for a table that is missing */
export function createLedgerReads(query: DataApi['query']): LedgerReads {
  /** One that is missing, as somebody may have dropped what a table has left that was given free, has no rows. */
  async function readGroup(
    ledgers: readonly string[],
    where: string,
    signal: AbortSignal,
  ): Promise<[ledger: string, row: StoredRow][]> {
    const parts = ledgers.map(
      (ledger, index) => `SELECT ${index} AS place, ${ROW_COLUMNS} FROM ${ledger} WHERE ${where}`,
    )
    try {
      const rows = await query(parts.join(' UNION ALL '), 'millrace read ledger', signal)
      return rows.map((row) => [ledgers[Number(row.place)] ?? '', toStored(row)])
    } catch (error) {
      if (!(error instanceof StatementFailure && isMissingTable(error))) throw error
      if (ledgers.length === 1) return []
      const middle = Math.ceil(ledgers.length / 2)
      const halves = [ledgers.slice(0, middle), ledgers.slice(middle)]
      return (await Promise.all(halves.map((half) => readGroup(half, where, signal)))).flat()
    }
  }

  async function readMany(ledgers: readonly string[], where: string, signal: AbortSignal) {
    const found = new Map<string, StoredRow[]>()
    for (let from = 0; from < ledgers.length; from += UNION) {
      for (const [ledger, row] of await readGroup(ledgers.slice(from, from + UNION), where, signal)) {
        found.set(ledger, [...(found.get(ledger) ?? []), row])
      }
    }
    return found
  }

  // What waits has its share of every ledger that it has come to, for which those wait that would write there: so it is
  // taken back, and each ledger read by itself.
  async function readSoon(ledgers: readonly string[], where: string, signal: AbortSignal) {
    const rows = new Map<string, StoredRow[]>()
    const locked: string[] = []
    const attempt = async (group: readonly string[]): Promise<void> => {
      const limit = AbortSignal.timeout(SOON)
      try {
        const found = await readMany(group, where, AbortSignal.any([signal, limit]))
        for (const [ledger, its] of found) rows.set(ledger, its)
      } catch (error) {
        signal.throwIfAborted()
        if (!limit.aborted) throw error
        if (group.length === 1) locked.push(...group)
        else await Promise.all(group.map((ledger) => attempt([ledger])))
      }
    }
    for (let from = 0; from < ledgers.length; from += UNION) await attempt(ledgers.slice(from, from + UNION))
    return { rows, locked }
  }

  async function read(ledger: string, where: string, signal: AbortSignal): Promise<StoredRow[]> {
    return (await readMany([ledger], where, signal)).get(ledger) ?? []
  }

  async function readIds(ledger: string, ids: readonly string[], signal: AbortSignal) {
    const rows = await read(ledger, `id IN (${ids.map(literal).join(', ')})`, signal)
    return new Map(rows.map((row) => [row.id, row]))
  }

  return { read, readIds, readMany, readSoon }
}
