import { MillraceError } from '../../lib/errors.ts'
import { sleep } from '../../lib/sleep.ts'
import type { Connection } from './connect.ts'

/** A transaction that is in the way. */
export interface OpenTransaction {
  /** Tells it from every other, also from later ones of the same session. */
  readonly id: string
  /** Process id of its session; undefined for a prepared transaction. */
  readonly pid: number | undefined
  readonly user: string
  readonly application: string
  /** Name of a prepared transaction. */
  readonly prepared: string | undefined
}

export interface WaitOptions {
  readonly signal: AbortSignal
  /** Milliseconds after which `DeadlineExceeded` is thrown. */
  readonly deadlineMilliseconds: number
  /** Told what is waited for, at first and whenever it changes. */
  readonly onWait?: (transactions: readonly OpenTransaction[], message: string) => void
}

const POLL_MILLISECONDS = 200

// pg_locks is open to every user, which pg_stat_activity.backend_xid is not. A prepared transaction has no process.
const WITH_SESSION = `
  LEFT JOIN pg_stat_activity s ON s.pid = l.pid
  LEFT JOIN pg_prepared_xacts p ON l.pid IS NULL AND l.virtualtransaction = '-1/' || p.transaction`

const DETAILS = `l.pid, coalesce(s.usename, p.owner, '') AS usename, coalesce(s.application_name, '') AS application_name, p.gid`

const WRITERS = `
  SELECT DISTINCT l.virtualtransaction || ':' || coalesce(l.pid::text, '') AS id, ${DETAILS}
  FROM pg_locks l ${WITH_SESSION}
  WHERE l.locktype = 'relation' AND l.relation = ANY ($1::oid[])
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
  ORDER BY 1`

const RUNNING = `
  SELECT DISTINCT l.transactionid::text AS id, ${DETAILS}
  FROM pg_locks l ${WITH_SESSION}
  WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
    AND l.pid IS DISTINCT FROM pg_backend_pid()
    AND coalesce(s.datname, p.database) = current_database()
  ORDER BY 1`

const ANY_RUNNING = `
  SELECT 1 FROM pg_locks
  WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted AND transactionid = ANY ($1::xid[]) LIMIT 1`

/**
 * Whether one of these transactions has not ended in the eyes of others. Its changes can be in the log, and in the queue, before
 * that: it holds the lock on its own number until others see what it did.
 *
 * @param xids as the log has them, without the epoch
 */
export async function isAnyRunning(connection: Connection, xids: readonly number[]): Promise<boolean> {
  return (await connection.query(ANY_RUNNING, [`{${xids.join(',')}}`])).length > 0
}

/** Transactions that have written, or may still write, one of these tables; prepared ones too. */
export async function readWriters(
  connection: Connection,
  oids: readonly number[],
): Promise<OpenTransaction[]> {
  return (await connection.query(WRITERS, [`{${oids.join(',')}}`])).map(toTransaction)
}

/** Transactions of this database that have written anything and have not ended, in the eyes of other sessions. */
export async function readRunningTransactions(connection: Connection): Promise<OpenTransaction[]> {
  return (await connection.query(RUNNING)).map(toTransaction)
}

/**
 * Waits until every transaction that `read` finds now has ended; later ones do not count. `what` begins the message, such
 * as `transactions that write public.orders`. Throws `DeadlineExceeded` naming the sessions that are left.
 */
export async function waitForEnd(
  read: () => Promise<OpenTransaction[]>,
  what: string,
  options: WaitOptions,
): Promise<void> {
  const deadline = performance.now() + options.deadlineMilliseconds
  const first = new Set((await read()).map((transaction) => transaction.id))
  let told = ''
  for (let left = first; ; ) {
    if (left.size === 0) return
    const open = (await read()).filter((transaction) => first.has(transaction.id))
    left = new Set(open.map((transaction) => transaction.id))
    if (left.size === 0) return
    const message = `waiting for ${left.size === 1 ? 'one' : left.size} of the ${what} to end: ${describeTransactions(open)}`
    if (message !== told) options.onWait?.(open, message)
    told = message
    if (performance.now() >= deadline) {
      throw new MillraceError(
        'DeadlineExceeded',
        `${message}. They did not within ${Math.round(options.deadlineMilliseconds / 1000)} s: commit or roll them back (SELECT pg_terminate_backend(<pid>), ROLLBACK PREPARED '<name>')`,
        { retryable: true },
      )
    }
    await sleep(POLL_MILLISECONDS, options.signal)
  }
}

const MOST_NAMED = 5

/** `pid 4711 (user app, psql), prepared transaction 'x'` for messages. */
export function describeTransactions(transactions: readonly OpenTransaction[]): string {
  const named = transactions.slice(0, MOST_NAMED).map((transaction) => {
    if (transaction.prepared !== undefined) return `prepared transaction '${transaction.prepared}'`
    const application = transaction.application === '' ? '' : `, ${transaction.application}`
    return `pid ${transaction.pid} (user ${transaction.user}${application})`
  })
  const rest = transactions.length - named.length
  return rest > 0 ? `${named.join(', ')} and ${rest} more` : named.join(', ')
}

function toTransaction(row: Readonly<Record<string, string | null>>): OpenTransaction {
  return {
    id: row.id ?? '',
    pid: row.pid === null || row.pid === undefined ? undefined : Number(row.pid),
    user: row.usename ?? '',
    application: row.application_name ?? '',
    prepared: row.gid ?? undefined,
  }
}
