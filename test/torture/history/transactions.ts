import { type History, type LedgerEvent, of, type WriteEvent } from './events.ts'

/** A committed transaction of the destination. */
export interface Transaction {
  readonly tx: string
  readonly ledger: readonly LedgerEvent[]
  readonly writes: readonly WriteEvent[]
}

/**
 * The destination's transactions in an order in which those that touch one table committed: whoever writes to a table has
 * its row of the ledger, or a share of its backfill's, before the trigger gives out the number.
 */
export function transactions(history: History): Transaction[] {
  const found = new Map<string, { ledger: LedgerEvent[]; writes: WriteEvent[] }>()
  const at = (tx: string) => {
    const known = found.get(tx) ?? { ledger: [], writes: [] }
    found.set(tx, known)
    return known
  }
  for (const event of of(history, 'ledger')) at(event.tx).ledger.push(event)
  for (const event of of(history, 'write')) at(event.tx).writes.push(event)
  return [...found.entries()].map(([tx, events]) => ({ tx, ...events })).sort((a, b) => first(a) - first(b))
}

const first = ({ ledger, writes }: Transaction): number =>
  (ledger.length > 0 ? ledger : writes).reduce((least, { id }) => Math.min(least, id), Number.MAX_VALUE)

/** What of a table's rows a transaction has changed in the end: image → how many more (or fewer) there are. */
export function netRows(writes: readonly WriteEvent[]): Map<string, number> {
  const net = new Map<string, number>()
  for (const { change } of writes) {
    if (change.op !== 'row') continue
    if (change.old !== null) add(net, change.old, -1)
    if (change.new !== null) add(net, change.new, 1)
  }
  return net
}

/** Counts, without entries of zero. */
export function add(counts: Map<string, number>, image: string, by: number): void {
  const next = (counts.get(image) ?? 0) + by
  if (next === 0) counts.delete(image)
  else counts.set(image, next)
}
