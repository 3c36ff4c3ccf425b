/**
 * Redshift's serializable isolation, by whole tables: transactions that cannot be put into one order are refused. Works
 * on what each transaction read and wrote and on PostgreSQL's snapshots, which say exactly what it saw.
 */

/** `pg_current_snapshot()`: transactions below `xmin` are seen, those from `xmax` on and those listed are not. */
export interface Snapshot {
  readonly xmin: bigint
  readonly xmax: bigint
  readonly running: ReadonlySet<bigint>
}

export function parseSnapshot(text: string): Snapshot {
  const [xmin = '', xmax = '', running = ''] = text.split(':')
  return {
    xmin: BigInt(xmin),
    xmax: BigInt(xmax),
    running: new Set(running === '' ? [] : running.split(',').map(BigInt)),
  }
}

const sees = ({ xmin, xmax, running }: Snapshot, xid: bigint) =>
  xid < xmin || (xid < xmax && !running.has(xid))

export interface Footprint {
  /** Number of the transaction in messages. */
  readonly id: number
  readonly snapshot: Snapshot | undefined
  /** Tables by oid. */
  readonly reads: ReadonlySet<number>
  readonly writes: ReadonlySet<number>
}

/** A transaction that has ended, or is about to. Without `xid` it wrote nothing. */
export interface Ended extends Footprint {
  readonly xid: bigint | undefined
  /** Grows with every commit. */
  readonly order: number
}

export interface Cycle {
  readonly table: number
  readonly transactions: readonly number[]
}

type Node = Footprint & Partial<Pick<Ended, 'xid' | 'order'>>

const firstCommon = (a: ReadonlySet<number>, b: ReadonlySet<number>) => [...a].find((each) => b.has(each))

const sawWritesOf = (reader: Node, writer: Node) =>
  reader.snapshot !== undefined && writer.xid !== undefined && sees(reader.snapshot, writer.xid)

/** A table because of which `a` must come before `b` in every order that gives the same results; undefined when none. */
export function mustPrecede(a: Node, b: Node): number | undefined {
  // a read what b then changed without seeing the change.
  if (!sawWritesOf(a, b)) {
    const table = firstCommon(a.reads, b.writes)
    if (table !== undefined) return table
  }
  // b saw a's change, or changed the same table later.
  if (sawWritesOf(b, a)) return firstCommon(a.writes, b.reads) ?? firstCommon(a.writes, b.writes)
  const aCommittedFirst = a.order !== undefined && (b.order === undefined || a.order < b.order)
  return aCommittedFirst ? firstCommon(a.writes, b.writes) : undefined
}

/**
 * The cycle that a transaction closes with ended ones, undefined when there is an order for all of them. A transaction
 * that wrote nothing is never the one that is refused.
 */
export function findCycle(transaction: Footprint, ended: readonly Ended[]): Cycle | undefined {
  if (transaction.writes.size === 0) return undefined
  const visited = new Set<number>()
  const walk = (from: Node, path: readonly number[], first: number | undefined): Cycle | undefined => {
    for (const next of ended) {
      if (visited.has(next.id) || next.id === from.id) continue
      const table = mustPrecede(from, next)
      if (table === undefined) continue
      visited.add(next.id)
      const cause = first ?? table
      if (mustPrecede(next, transaction) !== undefined) {
        return { table: cause, transactions: [...path, next.id] }
      }
      const longer = walk(next, [...path, next.id], cause)
      if (longer) return longer
    }
    return undefined
  }
  return walk(transaction, [transaction.id], undefined)
}
