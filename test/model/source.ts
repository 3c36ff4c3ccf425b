import { type Later, later } from './process.ts'
import type { Profile } from './profile.ts'

/** One version of a row. `id` tells rows apart that have no key, as a ctid would. */
export interface Row {
  readonly id: number
  readonly k: string
  readonly v: string
  /** Stored out of line. */
  readonly t: string
  /** The column that a schedule may add. */
  readonly d: string | null
  readonly block: number
}
export type Rows = ReadonlyMap<number, Row>

export interface Change {
  readonly op: 'I' | 'U' | 'D' | 'T'
  readonly before?: Row
  readonly after?: Row
  /** The value out of line did not change. */
  readonly keeps?: boolean
  readonly lsn: bigint
  /** The row has the column that was added. */
  readonly wide: boolean
}

export interface Message {
  readonly op: 'M'
  readonly prefix: string
  readonly content: string
  readonly lsn: bigint
}

export interface Transaction {
  readonly xid: number
  /** `logged`: its commit can be read in the log, and others do not see it yet. */
  state: 'running' | 'logged' | 'ended' | 'aborted'
  readonly items: (Change | Message)[]
  readonly rows: Set<number>
  readonly keys: Set<string>
  emptied: boolean
  /** Holds a lock that keeps writers away. */
  exclusive: boolean
  durable: boolean
  member: boolean | undefined
  commit: { readonly start: bigint; readonly end: bigint } | undefined
}

export interface Catalog {
  readonly end: bigint
  readonly wide: boolean
  /** Type of column v. */
  readonly type: string
  /** How often it was changed. */
  readonly retypes: number
  readonly file: number
  /** What the rewrite did that made this file: old snapshots see nothing in it, or rows elsewhere. */
  readonly rewrite: 'none' | 'empty' | 'shuffle'
}

export interface Replica {
  replayed: bigint
  generation: number
}

export interface Slot {
  confirmed: bigint
  /** Who reads it. */
  reader: { cut(): void; readonly owner: object | undefined; readonly processId: number } | undefined
  invalidated: string | undefined
}

export const SYSTEM = '7000000000000000001'
export const OID = 16_384
export const KEYS = 5
const STEP = 16n

export type Source = ReturnType<typeof createSource>

/** A PostgreSQL primary with one table, its log, two replicas behind one address, and a replication slot. */
export function createSource(profile: Profile) {
  const state = {
    end: 0x1000n,
    flushed: 0x1000n,
    timeline: 1,
    generation: 1,
    nextXid: 700,
    nextRow: 1,
    nextValue: 1,
    transactions: [] as Transaction[],
    commits: [] as Transaction[],
    visible: new Map<number, Row>() as Rows,
    states: [] as { readonly end: bigint; readonly rows: Rows }[],
    catalogs: [] as Catalog[],
    members: [] as { readonly end: bigint; readonly member: boolean; readonly broken: boolean }[],
    publication: undefined as string | undefined,
    /** Membership as others see it, not of a transaction that has not ended. */
    member: false,
    replicas: [
      { replayed: 0x1000n, generation: 1 },
      { replayed: 0x1000n, generation: 1 },
    ] as [Replica, Replica],
    /** Where the address of the replica leads. */
    address: 0 as 0 | 1,
    slot: undefined as Slot | undefined,
    /** Ends of what other parts have open on a server. */
    breakers: new Set<{ readonly server: ServerName; readonly session: object; cut(): void }>(),
    quiet: false,
  }
  type ServerName = 'primary' | 0 | 1

  const value = (letter: string) => `${letter}${state.nextValue++}`
  const append = () => {
    const start = state.end
    state.end += STEP
    return { start, end: state.end }
  }
  const catalog = () => state.catalogs.at(-1) as Catalog
  const unended = () =>
    state.transactions.filter((each) => each.state === 'running' || each.state === 'logged')

  function begin(): Transaction {
    const made: Transaction = {
      xid: state.nextXid++,
      state: 'running',
      items: [],
      rows: new Set(),
      keys: new Set(),
      emptied: false,
      exclusive: false,
      durable: true,
      member: undefined,
      commit: undefined,
    }
    state.transactions = [...unended(), made]
    return made
  }

  function play(rows: Rows, items: readonly (Change | Message)[]): Rows {
    const next = new Map(rows)
    for (const item of items) {
      if (item.op === 'T') next.clear()
      else if (item.op !== 'M') {
        if (item.before) next.delete(item.before.id)
        if (item.after) next.set(item.after.id, item.after)
      }
    }
    return next
  }

  function commit(transaction: Transaction): void {
    const record = append()
    transaction.commit = record
    transaction.state = 'logged'
    state.commits.push(transaction)
    if (transaction.items.some(({ op }) => op !== 'M')) {
      const rows = play((state.states.at(-1) as { rows: Rows }).rows, transaction.items)
      state.states.push({ end: record.end, rows })
    }
    if (transaction.emptied) pushCatalog({ file: catalog().file + 1, rewrite: 'empty' }, record.end)
    if (transaction.member !== undefined) {
      const spanned = unended().some(
        (other) => other !== transaction && other.items.some(({ op }) => op !== 'M'),
      )
      const broken = transaction.member && spanned && profile.oldMinor
      state.members.push({ end: record.end, member: transaction.member, broken })
    }
    if (!transaction.durable) end(transaction)
  }

  function end(transaction: Transaction): void {
    transaction.state = 'ended'
    state.visible = play(state.visible, transaction.items)
    if (transaction.member !== undefined) state.member = transaction.member
  }

  function abort(transaction: Transaction): void {
    if (transaction.state === 'running') transaction.state = 'aborted'
  }

  function pushCatalog(change: Partial<Catalog>, at: bigint): void {
    state.catalogs.push({ ...catalog(), rewrite: 'none', ...change, end: at })
  }

  /** A statement of the workload that takes the whole table for itself and commits at once. */
  function define(change: Partial<Catalog>, rows: ((row: Row) => Row) | undefined): void {
    const { end: at } = append()
    pushCatalog(change, at)
    if (!rows) return
    const over = (all: Rows): Rows => new Map([...all].map(([id, row]) => [id, rows(row)]))
    state.states.push({ end: at, rows: over((state.states.at(-1) as { rows: Rows }).rows) })
    state.visible = over(state.visible)
  }

  const lastBefore = <T extends { readonly end: bigint }>(list: readonly T[], lsn: bigint): T =>
    (list.findLast((each) => each.end <= lsn) ?? list[0]) as T

  /** Whether the log of a change at this place is published, and read by the slot. */
  function isPublished(lsn: bigint): boolean {
    const found = state.members.findLast((each) => each.end <= lsn)
    return found?.member === true && !found.broken
  }

  /** Forgets the log after `to`: a crash, or a replica that takes over. */
  function cut(to: bigint): void {
    for (const each of state.transactions) {
      if (each.state === 'running' || (each.commit && each.commit.end > to)) each.state = 'aborted'
      else if (each.state === 'logged') each.state = 'ended'
    }
    state.transactions = []
    state.commits = state.commits.filter((each) => (each.commit?.end ?? 0n) <= to)
    state.states = state.states.filter((each) => each.end <= to)
    state.catalogs = state.catalogs.filter((each) => each.end <= to)
    state.members = state.members.filter((each) => each.end <= to)
    state.visible = (state.states.at(-1) as { rows: Rows }).rows
    state.member = state.members.at(-1)?.member === true
    state.end = to
    state.flushed = to
    for (const replica of state.replicas) {
      if (replica.replayed <= to) continue
      replica.replayed = to
      replica.generation += 1
    }
    breakServer('primary')
    for (const index of [0, 1] as const) if (state.replicas[index].replayed === to) breakServer(index)
    state.slot?.reader?.cut()
  }

  function breakServer(server: ServerName): void {
    for (const each of [...state.breakers]) if (each.server === server) each.cut()
  }

  // ---- what the table's users do

  function write(transaction: Transaction, random: (n: number) => number): string | undefined {
    const others = unended().filter((each) => each !== transaction)
    if (others.some((each) => each.emptied || each.exclusive)) return undefined
    const seen = play(transaction.emptied ? new Map() : state.visible, transaction.items)
    const locked = (row: Row) => others.some((each) => each.rows.has(row.id))
    const taken = (k: string) => others.some((each) => each.keys.has(k))
    const free = [...seen.values()].filter((row) => !locked(row) && (profile.keyless || !taken(row.k)))
    const { wide } = catalog()
    const change = (op: Change['op'], before: Row | undefined, after: Row | undefined, keeps: boolean) => {
      const { start } = append()
      transaction.items.push({
        op,
        ...(before && { before }),
        ...(after && { after }),
        keeps,
        lsn: start,
        wide,
      })
      for (const row of [before, after]) {
        if (!row) continue
        transaction.rows.add(row.id)
        transaction.keys.add(row.k)
      }
      return `T${transaction.xid} ${op} ${before ? `k${before.k}` : ''}${after ? ` -> k${after.k} ${after.v} ${after.t}${wide ? ` ${after.d}` : ''}` : ''}${keeps ? ' (toast unchanged)' : ''}`
    }
    const k = String(random(KEYS))
    const exists = [...seen.values()].some((row) => row.k === k)
    const block = random(4)
    const insertable = profile.keyless ? seen.size < 6 : !exists && !taken(k)
    if (insertable && (free.length === 0 || random(3) === 0)) {
      const d = wide ? value('d').replace('d', '') : null
      return change(
        'I',
        undefined,
        {
          id: state.nextRow++,
          k,
          v: profile.keyless ? `v${random(3)}` : value('v'),
          t: profile.keyless ? `T${random(2)}` : value('T'),
          d,
          block,
        },
        false,
      )
    }
    const row = free[random(Math.max(1, free.length))]
    if (!row) return undefined
    if (random(6) === 0) return change('D', row, undefined, false)
    const keeps = random(3) !== 0
    const v = profile.keyless ? `v${random(3)}` : value('v')
    const t = keeps ? row.t : profile.keyless ? `T${random(2)}` : value('T')
    const d = wide && random(2) === 0 ? String(100 + random(5)) : row.d
    const moves = random(4) === 0 && (profile.keyless || (!exists && !taken(k)))
    return change('U', row, { id: row.id, k: moves ? k : row.k, v, t, d, block }, keeps)
  }

  function truncate(transaction: Transaction): string | undefined {
    if (
      unended().some(
        (other) => other !== transaction && (other.rows.size > 0 || other.emptied || other.exclusive),
      )
    ) {
      return undefined
    }
    const { start } = append()
    transaction.items.push({ op: 'T', lsn: start, wide: catalog().wide })
    transaction.emptied = true
    return `T${transaction.xid} truncates`
  }

  const isQuietTable = () => !unended().some((each) => each.rows.size > 0 || each.emptied || each.exclusive)

  // ---- what happens to servers

  /** Waits, at a COMMIT, for what synchronous_commit asks. */
  function commitAndWait(transaction: Transaction): undefined | Later<undefined> {
    commit(transaction)
    return later(
      () => transaction.state !== 'logged',
      () => undefined,
    )
  }

  state.catalogs.push({ end: 0n, wide: false, type: 'text', retypes: 0, file: 1, rewrite: 'none' })
  state.states.push({ end: 0n, rows: new Map() })
  const first = begin()
  for (let index = 0; index < profile.seedRows; index += 1) {
    const after = {
      id: state.nextRow++,
      k: String(index),
      v: value('v'),
      t: value('T'),
      d: null,
      block: index % 4,
    }
    first.items.push({ op: 'I', after, lsn: append().start, wide: false })
  }
  commit(first)
  end(first)
  state.flushed = state.end
  for (const replica of state.replicas) replica.replayed = state.end

  return {
    state,
    value,
    begin,
    commit,
    commitAndWait,
    end,
    abort,
    append,
    write,
    truncate,
    define,
    cut,
    catalog,
    unended,
    isQuietTable,
    isPublished,
    breakServer,
    rowsAt: (lsn: bigint) => lastBefore(state.states, lsn).rows,
    catalogAt: (lsn: bigint) => lastBefore(state.catalogs, lsn),
  }
}
