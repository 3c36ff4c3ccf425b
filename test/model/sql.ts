import { type Later, later } from './process.ts'
import { OID, type Row, type Rows, SYSTEM, type Transaction } from './source.ts'
import { world } from './world.ts'

/** What PostgreSQL answers: text or null. */
type Answer = Record<string, string | null>[]

export interface Snapshot {
  readonly id: string
  readonly rows: Rows
  readonly file: number
  readonly visibility: string
}

/** A session on one of the servers, as far as the statements of the workers need one. */
export interface ServerSession {
  readonly server: 'primary' | 0 | 1
  readonly generation: number
  broken: boolean
  conflict: boolean
  open: boolean
  /** Assigned when it writes. */
  transaction: Transaction | undefined
  durable: boolean | undefined
  lockTimeout: number
  /** It holds a lock on the table that keeps others from rewriting it. */
  reads: boolean
  snapshot: Snapshot | undefined
  exported: string | undefined
  settings: Map<string, string>
  /** When it was last asked something, and whether it may rest inside a transaction. */
  used: number
  readonly patient: boolean
}

export class SqlError extends Error {
  readonly code: string
  readonly severity = 'ERROR'
  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

const lsn = (value: bigint) =>
  `${(value >> 32n).toString(16)}/${(value & 0xffffffffn).toString(16)}`.toUpperCase()

const source = () => world().source
const clock = () => world().clock

function isReplica(session: ServerSession): boolean {
  return session.server !== 'primary'
}

/** How far the server of a session has come. */
function reached(session: ServerSession): bigint {
  const { state } = source()
  return session.server === 'primary' ? state.end : state.replicas[session.server].replayed
}

function catalogOf(session: ServerSession) {
  return source().catalogAt(session.server === 'primary' ? source().state.end : reached(session))
}

function transactionOf(session: ServerSession): Transaction {
  if (isReplica(session)) throw new SqlError('25006', 'cannot execute in a read-only transaction')
  session.transaction ??= source().begin()
  return session.transaction
}

/** The rows that a statement of this session sees now. */
export function takeSnapshot(session: ServerSession): Snapshot {
  const { state, rowsAt, catalogAt, unended } = source()
  const running = unended().map(({ xid }) => xid)
  const xmin = Math.min(state.nextXid, ...running)
  world().snapshots += 1
  return {
    id: `0000${world().snapshots.toString(16)}-1`,
    rows: isReplica(session) ? rowsAt(reached(session)) : state.visible,
    file: (isReplica(session) ? catalogAt(reached(session)) : source().catalog()).file,
    visibility: `${xmin}:${state.nextXid}:${running.join(',')}`,
  }
}

/** The rows that a statement reads whose range has its bounds in the settings of the session. */
export function rowsInRange(session: ServerSession, text: string): Row[] {
  const byBlock = text.includes('ctid')
  const place = (row: Row) => (byBlock ? row.block : Number(row.k))
  const bound = (end: 'from' | 'to') => {
    if (!text.includes(`millrace.${end}_1`)) return undefined
    const value = session.settings.get(`millrace.${end}_1`) ?? ''
    return Number(byBlock ? /\((\d+),/.exec(value)?.[1] : value)
  }
  const [from = Number.NEGATIVE_INFINITY, to = Number.POSITIVE_INFINITY] = [bound('from'), bound('to')]
  const rows = session.snapshot ? rowsUnder(session, session.snapshot) : takeSnapshot(session).rows
  return [...rows.values()].filter((row) => place(row) >= from && place(row) < to)
}

/** What a snapshot shows of the table as it is stored now: a rewrite is not undone for old snapshots. */
function rowsUnder(session: ServerSession, snapshot: Snapshot): Rows {
  const now = catalogOf(session)
  if (now.file === snapshot.file) return snapshot.rows
  const since = source().state.catalogs.filter(({ file }) => file > snapshot.file && file <= now.file)
  if (since.some(({ rewrite }) => rewrite === 'empty')) return new Map()
  return new Map(
    [...snapshot.rows].map(([id, row]) => [
      id,
      { ...row, block: shuffled(row.block, Number(row.k), now.file) },
    ]),
  )
}

/** Where a row is after the table was written anew. */
export function shuffled(block: number, k: number, file: number): number {
  return (k * 7 + file * 5 + block) % 4
}

export function endTransaction(session: ServerSession): void {
  session.open = false
  session.durable = undefined
  session.reads = false
  session.transaction = undefined
  session.snapshot = undefined
  session.conflict = false
  if (session.exported) world().exported.delete(session.exported)
  session.exported = undefined
  session.settings = new Map()
  session.lockTimeout = 30_000
}

/** Ends sessions that have been idle in a transaction for longer than their settings allow. */
export function endIdle(): void {
  for (const session of [...world().sessions]) {
    const waits = session.open && !session.patient && clock().now() - session.used > 60_000
    if (!waits) continue
    for (const each of [...source().state.breakers]) if (each.session === session) each.cut()
  }
}

export function rollBack(session: ServerSession): void {
  if (session.transaction) source().abort(session.transaction)
  endTransaction(session)
}

interface Statement {
  readonly is: RegExp
  /** Nothing depends on when it happens. */
  readonly still?: true
  run(session: ServerSession, values: readonly (string | null)[], text: string): unknown
}

const one = (row: Record<string, string | null>): Answer => [row]
const none: Answer = []
const flag = (is: boolean) => (is ? 't' : 'f')

function running(of: (each: Transaction) => boolean): Answer {
  return source()
    .unended()
    .filter(of)
    .map(({ xid }) => ({
      id: String(xid),
      pid: String(xid),
      usename: 'app',
      application_name: '',
      gid: null,
    }))
}

const wrote = (each: Transaction) => each.rows.size > 0 || each.emptied || each.exclusive

function columns(wide: boolean, type: string): Answer {
  const { profile } = world()
  const column = (attname: string, columnType: string, oid: number, notNull: boolean) => ({
    attnum: '1',
    attname,
    type: columnType,
    atttypid: String(oid),
    atttypmod: '-1',
    attnotnull: flag(notNull),
    typtype: 'b',
    is_array: 'f',
    base_type: columnType,
    missing: null as string | null,
    default_expression: null as string | null,
    is_identity: 'f',
  })
  return [
    column('k', 'integer', 23, !profile.keyless),
    column('v', type, 25, false),
    column('t', 'text', 25, false),
    ...(wide ? [{ ...column('d', 'integer', 23, false), missing: '7' }] : []),
  ]
}

function fingerprint(session: ServerSession): Answer {
  const { wide, type, file } = catalogOf(session)
  const { profile } = world()
  const all = [
    [1, 'k', 'integer', null, null, false, null],
    [2, 'v', type, null, null, false, null],
    [3, 't', 'text', null, null, false, null],
    ...(wide ? [[4, 'd', 'integer', null, '7', false, '7']] : []),
  ]
  return one({
    oid: String(OID),
    columns: JSON.stringify(all),
    last_number: String(all.length),
    indexes: profile.keyless ? null : JSON.stringify([[true, false, [1]]]),
    identity: profile.keyless || profile.full ? 'f' : 'd',
    leaves: JSON.stringify([[OID, 't', file]]),
  })
}

/** Waits for a lock; what is held against it is asked again until the time limit. */
function lock(session: ServerSession, free: () => boolean, take: () => void): Later<Answer> {
  const deadline = clock().now() + session.lockTimeout
  return later(
    () => free() || clock().now() >= deadline || session.broken,
    () => {
      if (!free()) throw new SqlError('55P03', 'canceling statement due to lock timeout')
      take()
      return none
    },
  )
}

/**
 * Every statement that a worker may send to a source. Whatever is not in this list is refused: a worker that asks
 * something new has to be given an answer here that is as PostgreSQL's.
 */
const STATEMENTS: readonly Statement[] = [
  {
    is: /f\.oid, hashtextextended/,
    run: (session) => one({ oid: String(OID), digest: JSON.stringify(fingerprint(session)) }),
  },
  { is: /c\.relnatts AS last_number/, run: fingerprint },
  {
    is: /^BEGIN/,
    still: true,
    run(session, _, text) {
      endTransaction(session)
      session.open = true
      session.settings.set('repeatable', flag(/REPEATABLE READ/.test(text)))
      return none
    },
  },
  {
    is: /^COMMIT$/,
    run(session) {
      const { transaction } = session
      const durable = session.durable ?? !world().profile.asynchronous
      endTransaction(session)
      if (!transaction) return none
      if (transaction.state === 'aborted') throw new SqlError('57P01', 'terminating connection')
      transaction.durable = durable
      const wait = source().commitAndWait(transaction)
      if (wait === undefined) return none
      return later(wait.until, () => {
        if (transaction.state === 'aborted') throw new SqlError('57P01', 'terminating connection')
        transaction.exclusive = false
        return none
      })
    },
  },
  { is: /^ROLLBACK$/, still: true, run: (session) => rollBack(session) },
  {
    is: /^SET LOCAL synchronous_commit = on/,
    still: true,
    run(session) {
      session.durable = true
    },
  },
  {
    is: /^SET LOCAL synchronous_commit = local/,
    still: true,
    run(session) {
      session.durable = true
    },
  },
  {
    is: /^SET LOCAL lock_timeout = (\d+)/,
    still: true,
    run(session, _, text) {
      session.lockTimeout = Number(/(\d+)/.exec(text)?.[1])
    },
  },
  { is: /^SELECT 1$/, still: true, run: () => one({ '?column?': '1' }) },
  {
    is: /pg_logical_emit_message\(true/,
    run(session, values) {
      const transaction = transactionOf(session)
      const { start } = source().append()
      transaction.items.push({ op: 'M', prefix: values[0] ?? 'other', content: values[1] ?? '', lsn: start })
      if (!session.open) {
        transaction.durable = !world().profile.asynchronous
        session.transaction = undefined
        const wait = source().commitAndWait(transaction)
        if (wait) return later(wait.until, () => none)
      }
      return none
    },
  },
  {
    is: /FROM pg_control_system\(\)/,
    run(session) {
      const { state } = source()
      return one({
        system_identifier: SYSTEM,
        timeline: String(state.timeline),
        address: session.server === 'primary' ? '10.0.0.1' : `10.0.0.${2 + session.server}`,
        port: '5432',
        start_time: `2026-11-22 ${session.server} ${session.generation}`,
        in_recovery: flag(isReplica(session)),
      })
    },
  },
  {
    is: /current_setting\('wal_level'\)/,
    still: true,
    run: () => one({ wal_level: 'logical', encoding: 'UTF8' }),
  },
  {
    is: /pg_drop_replication_slot/,
    run() {
      const { state } = source()
      if (state.slot?.reader) throw new SqlError('55006', 'replication slot is active for PID 99')
      state.slot = undefined
      return none
    },
  },
  {
    is: /FROM pg_replication_slots/,
    run() {
      const { slot, end } = source().state
      if (!slot) return none
      return one({
        slot_type: 'logical',
        database: 'db',
        plugin: 'pgoutput',
        active_pid: slot.reader ? String(slot.reader.processId) : null,
        confirmed_flush_lsn: lsn(slot.confirmed),
        restart_lsn: slot.invalidated ? null : lsn(slot.confirmed),
        wal_status: slot.invalidated ? 'lost' : 'reserved',
        invalidation_reason: slot.invalidated ?? null,
        retained: String(end - slot.confirmed),
      })
    },
  },
  {
    is: /pg_terminate_backend/,
    run(_session, [pid]) {
      const { slot } = source().state
      if (String(slot?.reader?.processId) === pid) slot?.reader?.cut()
    },
  },
  {
    is: /FROM pg_publication p WHERE/,
    run() {
      const { publication } = source().state
      if (publication === undefined) return none
      return one({ oid: '5', puballtables: 'f', pubviaroot: 't', everything: 't', owner: publication })
    },
  },
  {
    is: /^CREATE PUBLICATION/,
    run() {
      source().state.publication ??= ''
    },
  },
  {
    is: /^COMMENT ON PUBLICATION .* IS '(.*)'$/,
    run(_, __, text) {
      source().state.publication = /IS '(.*)'$/.exec(text)?.[1] ?? ''
    },
  },
  {
    is: /JOIN pg_publication_rel/,
    run: () => (source().state.member ? one({ oid: String(OID), nspname: 'public', relname: 't' }) : none),
  },
  {
    is: /^ALTER PUBLICATION .* (ADD|DROP) TABLE/,
    run(session, _, text) {
      transactionOf(session).member = / ADD TABLE/.test(text)
    },
  },
  {
    is: /^LOCK TABLE .* IN SHARE ROW EXCLUSIVE MODE/,
    run(session) {
      const own = transactionOf(session)
      const free = () =>
        !source()
          .unended()
          .some((each) => each !== own && wrote(each))
      return lock(session, free, () => {
        own.exclusive = true
      })
    },
  },
  {
    is: /^LOCK TABLE .* IN ACCESS SHARE MODE|^SELECT FROM .* LIMIT 0$/,
    run(session) {
      const free = () =>
        isReplica(session) ||
        !source()
          .unended()
          .some((each) => each.emptied)
      return lock(session, free, () => {
        session.reads = true
      })
    },
  },
  {
    is: /FROM pg_class c JOIN pg_namespace n.*relpersistence|c\.relpersistence/s,
    still: true,
    run: relation,
  },
  {
    is: /^\s*SELECT a\.attnum, a\.attname, format_type/,
    run(session) {
      const { wide, type } = catalogOf(session)
      return columns(wide, type)
    },
  },
  {
    is: /^\s*SELECT i\.indisprimary, i\.indisreplident/,
    still: true,
    run: () =>
      world().profile.keyless ? none : one({ indisprimary: 't', indisreplident: 'f', columns: '["k"]' }),
  },
  { is: /AS generated\n/, still: true, run: () => none },
  {
    is: /FROM pg_partition_tree/,
    run: (session) =>
      one({ oid: String(OID), nspname: 'public', relname: 't', filenode: String(catalogOf(session).file) }),
  },
  // What gives the table another file here changes no values without changing their type.
  { is: /SELECT DISTINCT a\.attname/, still: true, run: () => none },
  { is: /has_any_column_privilege/, still: true, run: () => one({ readable: 't' }) },
  {
    is: /l\.locktype = 'relation'/,
    run: (session) => running((each) => wrote(each) && each !== session.transaction),
  },
  {
    is: /l\.locktype = 'transactionid'/,
    run: (session) =>
      running((each) => (each.items.length > 0 || each.emptied) && each !== session.transaction),
  },
  {
    is: /WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock'/,
    run(_, values) {
      const wanted = (values[0] ?? '').replace(/[{}]/g, '').split(',')
      return running(({ xid }) => wanted.includes(String(xid)))
    },
  },
  { is: /format_type\(o, m\)/, still: true, run: typeNames },
  {
    is: /^SELECT relreplident FROM pg_class/,
    still: true,
    run: () => one({ relreplident: world().profile.keyless || world().profile.full ? 'f' : 'd' }),
  },
  {
    is: /pg_wal_lsn_diff\(pg_current_wal_lsn\(\), \$1/,
    still: true,
    run: (_, values) => one({ lag: String(source().state.end - parse(values[0] ?? '0/0')) }),
  },
  {
    is: /pg_is_wal_replay_paused/,
    run: (session) =>
      one({
        in_recovery: flag(isReplica(session)),
        replayed: isReplica(session) ? lsn(reached(session)) : '0/0',
        paused: 'f',
        receiving: 't',
      }),
  },
  {
    is: /^SELECT pg_is_in_recovery\(\) AS in_recovery, coalesce\(pg_last_wal_replay_lsn/,
    run: (session) =>
      one({
        in_recovery: flag(isReplica(session)),
        replayed: isReplica(session) ? lsn(reached(session)) : '0/0',
      }),
  },
  {
    is: /pg_current_wal_insert_lsn\(\) AS inserted/,
    run: () => one({ inserted: lsn(source().state.end), flushed: lsn(source().state.flushed) }),
  },
  {
    is: /^EXPLAIN/,
    run(session, _, text) {
      if (/"d"/.test(text) && !catalogOf(session).wide)
        throw new SqlError('42703', 'column "d" does not exist')
      return one({ 'QUERY PLAN': '[{"Plan":{"Plan Rows":5}}]' })
    },
  },
  {
    is: /AS blocks, pg_table_size/,
    still: true,
    run: () => one({ oid: String(OID), blocks: '4', bytes: '32768', heap: 't' }),
  },
  { is: /abs\(s\.correlation\)/, still: true, run: () => one({ correlation: null }) },
  { is: /AS foreign_columns/, still: true, run: () => one({ foreign_columns: null }) },
  { is: /collation_actual_version/, still: true, run: () => none },
  {
    is: /AS sample WHERE i > 0/,
    run(session, values) {
      const keys = [...takeSnapshot(session).rows.values()].map((row) => Number(row.k)).sort((a, b) => a - b)
      const parts = Number(values[0])
      return keys.flatMap((k, i) =>
        i > 0 && Math.floor((i * parts) / keys.length) !== Math.floor(((i - 1) * parts) / keys.length)
          ? [{ k1: String(k) }]
          : [],
      )
    },
  },
  {
    is: /OFFSET \$1::bigint LIMIT 1/,
    run(session, values, text) {
      const keys = rowsInRange(session, text).map((row) => Number(row.k))
      const middle = keys.toSorted((a, b) => a - b)[Number(values[0])]
      return middle === undefined ? none : one({ k1: String(middle) })
    },
  },
  {
    is: /pg_export_snapshot/,
    run(session) {
      const snapshot = takeSnapshot(session)
      session.exported = snapshot.id
      world().exported.set(snapshot.id, { snapshot, session })
      return one({ id: snapshot.id, visibility: isReplica(session) ? '' : snapshot.visibility })
    },
  },
  {
    is: /^SET TRANSACTION SNAPSHOT '(.*)'$/,
    run(session, _, text) {
      const found = world().exported.get(/'(.*)'/.exec(text)?.[1] ?? '')
      const same =
        found && found.session.server === session.server && found.session.generation === session.generation
      if (!same) throw new SqlError('22023', 'invalid snapshot identifier')
      session.snapshot = found.snapshot
      return none
    },
  },
  {
    is: /pg_relation_filenode\(to_regclass\(\$1\)\) AS filenode/,
    run: (session) =>
      one({
        filenode: String(catalogOf(session).file),
        log_end: isReplica(session) ? null : lsn(source().state.end),
      }),
  },
  {
    is: /^SELECT num_nulls\(set_config/,
    still: true,
    run(session, values) {
      for (let i = 0; i < values.length; i += 2) session.settings.set(values[i] ?? '', values[i + 1] ?? '')
      return one({ num_nulls: '0' })
    },
  },
  { is: /WITH ORDINALITY AS r \(.*JOIN/s, run: reread },
]

function relation(): Answer {
  const { profile } = world()
  return one({
    oid: String(OID),
    relkind: 'r',
    relreplident: profile.keyless || profile.full ? 'f' : 'd',
    relpersistence: 'p',
    relispartition: 'f',
    owner: 'app',
    readable: 't',
  })
}

/** Names of types by oid; the third and later ones are what a column of text may be changed to. */
export const TYPES: Readonly<Record<string, string>> = {
  23: 'integer',
  25: 'text',
  1043: 'character varying',
  3802: 'jsonb',
}

function typeNames(_: ServerSession, values: readonly (string | null)[]): Answer {
  const items = (text: string | null | undefined) => (text ?? '').replace(/[{}]/g, '').split(',')
  const [oids, modifiers] = [items(values[0]), items(values[1])]
  return oids.map((oid, index) => ({ oid, modifier: modifiers[index] ?? '-1', name: TYPES[oid] ?? 'text' }))
}

function reread(session: ServerSession, values: readonly (string | null)[], text: string): Answer {
  const { rows } = takeSnapshot(session)
  const keys = [...(values[0] ?? '').matchAll(/"([^"]*)"/g)].map(([, key]) => key)
  const wanted = [...text.matchAll(/t\."(\w+)" AS (v\d+)/g)]
  return keys.flatMap((key, index) => {
    const row = [...rows.values()].find(({ k }) => k === key)
    if (!row) return []
    const found: Record<string, string | null> = { n: String(index + 1), size: '10' }
    for (const [, name, as] of wanted) found[as ?? ''] = row[name as 'v' | 't' | 'd' | 'k']
    return [found]
  })
}

function parse(text: string): bigint {
  const [high = '0', low = '0'] = text.split('/')
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`)
}

export function findStatement(text: string): Statement {
  const found = STATEMENTS.find(({ is }) => is.test(text))
  if (found) return found
  world().check.broken ??= `the model's PostgreSQL does not know a statement: ${text}`
  throw new Error(
    `the model's PostgreSQL does not know this statement; teach it in test/model/sql.ts:\n${text}`,
  )
}
