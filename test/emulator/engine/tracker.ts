import { RedshiftError } from '../sql/errors.ts'
import { type Cycle, type Ended, type Footprint, findCycle } from './conflicts.ts'

/** Knows all transactions of a database, and refuses the one that no serial order has room for. */
export interface Tracker {
  /** A transaction begins. Ended transactions are kept while an active one may conflict with them. */
  enter(transaction: Footprint): void
  /** Error 1023 when the transaction, as it stands, closes a cycle. Waits for commits under way. */
  check(transaction: Footprint, pid: number): Promise<void>
  /** Checks a last time, runs the commit, and remembers the transaction when it came through. */
  commit(
    transaction: Footprint,
    xid: bigint | undefined,
    pid: number,
    run: () => Promise<void>,
  ): Promise<void>
  /** The transaction is over without a commit. */
  leave(transaction: Footprint): void
}

interface Committing extends Ended {
  readonly settled: Promise<unknown>
}

export function createTracker(): Tracker {
  let clock = 0
  const active = new Map<number, number>()
  let ended: (Ended & { begun: number })[] = []
  const committing = new Map<number, Committing>()

  /** Commits under way that decide whether there is a cycle; empty when there is none. Fails when there is one for certain. */
  const undecided = (transaction: Footprint, pid: number): Promise<unknown>[] => {
    const others = [...ended, ...committing.values()].filter(({ id }) => id !== transaction.id)
    const cycle = findCycle(transaction, others)
    if (!cycle) return []
    const pending = cycle.transactions.flatMap((id) => committing.get(id)?.settled ?? [])
    if (pending.length === 0) throw violation(cycle, pid)
    return pending
  }

  const check = async (transaction: Footprint, pid: number) => {
    for (
      let pending = undecided(transaction, pid);
      pending.length > 0;
      pending = undecided(transaction, pid)
    ) {
      await Promise.allSettled(pending)
    }
  }

  const prune = () => {
    const horizon = Math.min(Number.POSITIVE_INFINITY, ...active.values())
    const kept = ended.filter(({ order }) => order > horizon)
    const deeper = Math.min(horizon, ...kept.map(({ begun }) => begun))
    ended = ended.filter(({ order }) => order > deeper)
  }

  const leave = (transaction: Footprint) => {
    active.delete(transaction.id)
    prune()
  }

  return {
    enter: (transaction) => {
      if (!active.has(transaction.id)) active.set(transaction.id, clock)
    },
    check,
    commit: async (transaction, xid, pid, run) => {
      for (
        let pending = undecided(transaction, pid);
        pending.length > 0;
        pending = undecided(transaction, pid)
      ) {
        await Promise.allSettled(pending)
      }
      // Nothing was awaited since the last look, so no other transaction came in between.
      const order = ++clock
      const settled = run()
      committing.set(transaction.id, { ...transaction, xid, order, settled })
      try {
        await settled
        ended.push({ ...transaction, xid, order, begun: active.get(transaction.id) ?? order })
      } finally {
        committing.delete(transaction.id)
        leave(transaction)
      }
    },
    leave,
  }
}

function violation({ table, transactions }: Cycle, pid: number): RedshiftError {
  return serializationError(
    `Serializable isolation violation on table - ${table}, transactions forming the cycle are: ${transactions.join(', ')} (pid:${pid})`,
  )
}

export const serializationError = (detail: string) => new RedshiftError('XX000', '1023', `Detail: ${detail}`)
