import { MillraceError, toMillraceError } from '../../lib/errors.ts'
import { around } from '../../lib/failpoints.ts'
import { sleep } from '../../lib/sleep.ts'
import type { Connection, PostgresTarget } from '../source/connect.ts'
import { untilFlushed } from '../source/flush.ts'
import { readServerIdentity, type ServerIdentity } from '../source/identity.ts'
import type { LSN } from '../source/lsn.ts'
import { isOfOtherName, publicationTaken, setPublicationOwner } from '../source/owner.ts'
import { ensurePublication, type Publication, type SourceNames } from '../source/publication.ts'
import { dropSlot, readSlot, type Slot, slotInUse } from '../source/slot.ts'
import { describeTransactions, readRunningTransactions, waitForEnd } from '../source/writers.ts'
import { createSlot } from './replication.ts'
import type { SqlSession } from './sql-session.ts'

const FIELD = 'spec.source.postgres'

/**
 * Proves that the server can be captured from. Throws `WrongWALLevel`, `UnsupportedServer`, or `InvalidSpec` for a replica,
 * each naming the cure.
 */
export async function inspectServer(connection: Connection): Promise<ServerIdentity> {
  const identity = await readServerIdentity(connection)
  if (identity.inRecovery) {
    throw new MillraceError(
      'InvalidSpec',
      `${FIELD}.host: the server is a replica: name the primary, and list replicas in ${FIELD}.replicas`,
      { field: `${FIELD}.host`, retryable: true },
    )
  }
  const [settings] = await connection.query(
    "SELECT current_setting('wal_level') AS wal_level, current_setting('server_encoding') AS encoding",
  )
  if (settings?.wal_level !== 'logical') {
    throw new MillraceError(
      'WrongWALLevel',
      `${FIELD}: wal_level of the source is ${settings?.wal_level}, logical is needed: run ALTER SYSTEM SET wal_level = 'logical' and restart the server (on Amazon RDS set rds.logical_replication to 1)`,
      { field: FIELD },
    )
  }
  if (settings.encoding === 'SQL_ASCII') {
    throw new MillraceError(
      'UnsupportedServer',
      `${FIELD}.database: the database has the encoding SQL_ASCII, so that nobody knows what its text means: copy it into one with a real encoding`,
      { field: `${FIELD}.database`, retryable: true },
    )
  }
  return identity
}

/**
 * Makes the publication, and refuses one that a Pipeline of another name has made, as two that share it would take each
 * other's tables out; whoever wants it on purpose clears its comment. One that was left behind by a Pipeline of the same
 * name is taken over, with its slot only when the queue knows it: two that share a slot would take each other's changes.
 */
export async function claimPublication(
  connection: Connection,
  names: SourceNames,
  owner: string,
  slot: Slot | undefined,
  isKnown: boolean,
): Promise<Publication> {
  const publication = await ensurePublication(connection, names.publication, owner, names.slot)
  if (publication.owner === owner) return publication
  if (isOfOtherName(publication.owner, owner)) throw publicationTaken(names.publication, publication.owner)
  if (publication.owner !== '' && slot && !isKnown) {
    throw new MillraceError(
      'SlotInUse',
      `${FIELD}.slot: replication slot ${JSON.stringify(names.slot)} belongs to another Pipeline (${publication.owner}), and the queue does not know it: set ${FIELD}.slot and ${FIELD}.publication to other names, or, if that Pipeline is gone, run SELECT pg_drop_replication_slot('${names.slot}')`,
      { field: `${FIELD}.slot` },
    )
  }
  await setPublicationOwner(connection, names.publication, owner)
  return publication
}

/** How often the server is asked whom a new slot waits for, milliseconds. */
const ASK = 2_000

/**
 * Creates the slot, after dropping the old one when `replace`. Tells through `onWait` which transactions it waits for.
 * Throws `SlotInUse` while another process reads the old one.
 */
export async function makeSlot(
  target: PostgresTarget,
  sql: SqlSession,
  slot: string,
  replace: boolean,
  onWait: (error: MillraceError | undefined) => void,
  signal: AbortSignal,
): Promise<void> {
  if (replace) {
    await sql.use(async (connection) => {
      const old = await readSlot(connection, slot)
      if (old?.activePid !== undefined) throw slotInUse(slot, old.activePid)
      await around('capture.slot.drop', () => dropSlot(connection, slot))
    })
  }
  const over = new AbortController()
  const telling = tellWaiting(sql, onWait, AbortSignal.any([signal, over.signal]))
  try {
    await around('capture.slot.create', () => createSlot(target, slot, signal))
  } catch (thrown) {
    throw explainSlot(thrown)
  } finally {
    over.abort()
    await telling
    onWait(undefined)
  }
}

async function tellWaiting(
  sql: SqlSession,
  onWait: (error: MillraceError) => void,
  signal: AbortSignal,
): Promise<void> {
  try {
    for (;;) {
      await sleep(ASK, signal)
      const running = await sql.use(readRunningTransactions)
      if (running.length === 0) continue
      onWait(
        new MillraceError(
          'LockTimeout',
          `${FIELD}.slot: the new replication slot waits for transactions to end: ${describeTransactions(running)}`,
        ),
      )
    }
  } catch {
    // Only a message for people; the creation of the slot itself reports what goes wrong.
  }
}

/**
 * Where a new epoch begins: behind every transaction that runs now. Tells through `onWait` which those are.
 *
 * The snapshot of the catalog with which a new slot is decoded lacks what was committed between its first and its second look at the
 * running transactions, as long as an older one runs on (PostgreSQL up to 18.4: `xact_decode` leaves out commits before the full
 * snapshot). Of a table that was rewritten it then finds nothing ("could not map filenumber"), so that the slot can never be read on;
 * of a column that was added it says nothing. It is made anew behind the next change of the catalog, which is why one is made here;
 * transactions that began before have the old one, and what commits before the start is never decoded.
 */
export async function findStart(
  sql: SqlSession,
  publication: string,
  owner: string,
  onWait: (error: MillraceError | undefined) => void,
  signal: AbortSignal,
): Promise<LSN> {
  await sql.use((connection) => setPublicationOwner(connection, publication, owner))
  const tell = (_: unknown, message: string) =>
    onWait(new MillraceError('LockTimeout', `${FIELD}.slot: ${message}`))
  const options = { signal, deadlineMilliseconds: Number.POSITIVE_INFINITY, onWait: tell }
  await waitForEnd(() => sql.use(readRunningTransactions), 'transactions that run at the start', options)
  onWait(undefined)
  // What is not on disk could vanish in a crash, and the log would seem to have gone back.
  return await sql.use(untilFlushed)
}

function explainSlot(thrown: unknown): unknown {
  const error = toMillraceError(thrown)
  if (/all replication slots are in use/.test(error.message)) {
    return new MillraceError(
      'TooManyConnections',
      `${FIELD}.slot: ${error.message}: drop a slot that nobody needs, or raise max_replication_slots and restart the server`,
      { field: `${FIELD}.slot`, cause: thrown },
    )
  }
  return explainReplication(thrown)
}

/** A refusal of the replication connection, with what has to be granted. */
export function explainReplication(thrown: unknown): unknown {
  const error = toMillraceError(thrown)
  if (error.code !== 'PermissionDenied') return thrown
  return new MillraceError(
    'PermissionDenied',
    `${error.message}: replication needs ALTER ROLE … REPLICATION (on Amazon RDS: GRANT rds_replication TO …)`,
    { cause: thrown, ...(error.field === undefined ? {} : { field: error.field }) },
  )
}
