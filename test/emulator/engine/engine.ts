import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { HOME, sqlString } from '../sql/names.ts'
import { type Backends, createBackends } from './backends.ts'
import type { Isolation } from './errors.ts'
import { createHistory, type History } from './history.ts'
import { type Collation, openSession, type Session } from './session.ts'
import { createTracker } from './tracker.ts'

export interface EngineOptions {
  /** PostgreSQL database that stands for the Redshift database. */
  readonly url: string
  /** Name of the database in Redshift. */
  readonly database: string
  readonly collation: Collation
  readonly isolation: Isolation
  readonly slices: number
  /** Users that are no superusers. Each becomes a role in PostgreSQL. */
  readonly restrictedUsers: readonly string[]
}

/** The database behind the Data API. */
export interface Engine {
  readonly history: History
  readonly backends: Backends
  openSession(user: string): Promise<Session>
  /** The session ends: what it has open is rolled back, its temporary tables go. */
  closeSession(session: Session): Promise<void>
  nextQueryId(): number
  /** True once its database, or the server, has gone or come again: what was made in it may not be there. */
  readonly lost: () => boolean
  close(): Promise<void>
}

/** Sessions between two times that the catalog is freed of relations that are gone, temporary ones above all. */
const CLEAN_EVERY = 200

async function forgetDropped(backends: Backends) {
  for (const [table, column] of [
    ['relations', 'oid'],
    ['columns', 'relation'],
    ['constraints', 'relation'],
  ]) {
    const gone = `not exists (select from pg_class c where c.oid = t.${column})`
    await backends.admin(`delete from ${HOME}.${table} t where ${gone}`)
  }
}

const BOOTSTRAP = join(import.meta.dirname, 'bootstrap.sql')

/** Opens the database, and makes the emulator's schema in it the first time. */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const { database, collation, isolation, slices, restrictedUsers } = options
  const backends = createBackends(options.url)
  const tracker = createTracker()
  const sessions = new Set<Session>()
  const history = createHistory({
    slices,
    sessions: () => [...sessions].map(({ backend, user }) => ({ pid: backend.pid, user, database })),
  })
  let transactions = 1000
  let queries = 1000
  let closed = 0
  try {
    await bootstrap(backends)
    for (const user of restrictedUsers) await ensureRole(backends, user)
  } catch (error) {
    await backends.close()
    throw error
  }
  return {
    history,
    backends,
    nextQueryId: () => ++queries,
    openSession: async (user) => {
      const backend = await backends.borrow()
      try {
        const session = await openSession({
          backend,
          tracker,
          collation,
          isolation,
          user,
          database,
          role: restrictedUsers.includes(user) ? roleName(user) : undefined,
          nextTransaction: () => ++transactions,
        })
        sessions.add(session)
        return session
      } catch (error) {
        await backends.giveBack(backend, false)
        throw error
      }
    },
    closeSession: async (session) => {
      if (!sessions.delete(session)) return
      let clean = !session.backend.lost()
      if (session.transaction())
        clean &&= await session.rollback().then(
          () => true,
          () => false,
        )
      await backends.giveBack(session.backend, clean)
      // By one connection alone: transactions that cleaned up would refuse each other.
      if (++closed % CLEAN_EVERY === 0) await forgetDropped(backends).catch(() => {})
    },
    lost: backends.lost,
    close: backends.close,
  }
}

async function bootstrap(backends: Backends) {
  const sql = readFileSync(BOOTSTRAP, 'utf8')
  const version = createHash('sha256').update(sql).digest('hex').slice(0, 16)
  const found = `select obj_description(to_regnamespace('${HOME}'), 'pg_namespace')`
  if ((await backends.admin('select to_regnamespace($1)', [HOME]))[0]?.[0] == null) {
    // Two emulators may open one database at a time.
    await backends.admin(`do $do$ begin
      perform pg_advisory_xact_lock(hashtext('${HOME}'));
      if to_regnamespace('${HOME}') is null then
        execute ${dollarQuoted(sql)};
        execute ${sqlString(`comment on schema ${HOME} is '${version}'`)};
      end if;
    end $do$`)
  }
  const rows = await backends.admin(found)
  if (rows[0]?.[0] !== version) {
    throw new Error(
      `the database holds the schema ${HOME} of another version of the emulator: drop it, or use a new database`,
    )
  }
}

const dollarQuoted = (sql: string) => `$bootstrap$${sql}$bootstrap$`

const roleName = (user: string) => `"${user.replaceAll('"', '')}"`

async function ensureRole(backends: Backends, user: string) {
  await backends.admin(`do $do$ begin
    if not exists (select from pg_roles where rolname = ${sqlString(user)}) then create role ${roleName(user)}; end if;
  exception when duplicate_object or unique_violation then null;
  end $do$`)
}
