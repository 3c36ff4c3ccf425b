import { type ErrorCode, MillraceError } from '../../lib/errors.ts'
import type {
  ChunkRange,
  ClosedFacts,
  Fence,
  HeldFacts,
  Ledger,
  LedgerBackfill,
  LedgerChunk,
  LedgerTable,
  LedgerTableFacts,
} from '../../workers/destination/ledger.ts'
import { ORIGIN } from '../../workers/source/position.ts'
import { call } from './process.ts'
import type { StoredBackfill } from './store.ts'
import { world } from './world.ts'

// The ledger of the destination that stands in for the real one: the port's contract, to the letter, in memory.

export const store = () => world().store
const same = (a: { schema: string; name: string }, b: { schema: string; name: string }) =>
  a.schema === b.schema && a.name === b.name

export function fail(code: ErrorCode, message: string): never {
  throw new MillraceError(code, message)
}

/** One transaction. Once sent, it may be carried out although whoever sent it is gone. */
export function transaction<T>(what: string, signal: AbortSignal, work: () => T): Promise<T> {
  return call(what, () => work(), { signal, lingers: true, abandoned: (sent) => world().late.push(sent) })
}

export function read<T>(what: string, signal: AbortSignal, work: () => T): Promise<T> {
  return call(what, () => work(), { signal })
}

export function current(row: LedgerTable): LedgerTable {
  const found = store().tables.find((each) => each.pipeline === row.pipeline && same(each.table, row.table))
  if (!found || found.version !== row.version) return fail('LedgerConflict', 'the row is at another version')
  return found
}

export function put(row: LedgerTable, patch: Partial<LedgerTableFacts>): LedgerTable {
  const next = { ...row, ...patch, version: row.version + 1n }
  store().tables = store().tables.map((each) => (each === row ? next : each))
  world().check.moved(row, next)
  return next
}

export function tableOf(uid: string): LedgerTable | undefined {
  return store().tables.find(({ heldBy }) => heldBy === uid)
}

function freeTable(uid: string): void {
  const row = tableOf(uid)
  if (row) put(row, { heldBy: '' })
}

export function chunksOf(uid: string, plan: number) {
  return store().chunks.filter((chunk) => chunk.uid === uid && chunk.plan === plan)
}

function totals({ uid, plan }: { uid: string; plan: number }) {
  const done = chunksOf(uid, plan).filter(({ state }) => state === 'done')
  return {
    rows: done.reduce((sum, chunk) => sum + chunk.rows, 0n),
    bytes: done.reduce((sum, chunk) => sum + chunk.bytes, 0n),
  }
}

export function shown(backfill: StoredBackfill): LedgerBackfill {
  const { totals: fixed, ...rest } = backfill
  return { ...rest, ...(fixed ?? totals(backfill)) }
}

export function change(backfill: StoredBackfill, patch: Partial<StoredBackfill>): StoredBackfill {
  const next = { ...backfill, ...patch, version: backfill.version + 1n }
  store().backfills.set(backfill.uid, next)
  return next
}

export function fencedBackfill(fence: Fence): StoredBackfill {
  const found = store().backfills.get(fence.uid)
  if (found?.state !== 'held' || found.attempt !== fence.attempt) {
    return fail(
      'Fenced',
      `backfill ${fence.uid} is ${found?.state}, attempt ${found?.attempt}; this is ${fence.attempt}`,
    )
  }
  return found
}

function empty(
  uid: string,
  name: string,
  action: LedgerBackfill['action'],
  table: LedgerTable['table'],
): StoredBackfill {
  return {
    uid,
    name,
    table,
    action,
    state: 'held',
    version: 1n,
    attempt: 0,
    holdLSN: 0n,
    holdOffset: 0n,
    actionDone: false,
    append: false,
    plan: 0,
    scan: '',
    snapshot: '',
    visibility: '',
    closeCode: '',
    closeMessage: '',
    totals: undefined,
  }
}

function recordHeld(row: LedgerTable, hold: HeldFacts): LedgerTable {
  if (row.state === 'stopped' && hold.action === 'DoNothing') fail('ActionRefused', 'the table has stopped')
  const skipped =
    row.state === 'stopped'
      ? ({
          state: 'active',
          unknownHistory: true,
          needsEmptying: true,
          historyComplete: false,
        } as const)
      : {}
  const known = store().backfills.get(hold.uid)
  if (row.heldBy === hold.uid) return known?.state === 'held' ? row : fail('LedgerConflict', 'changed')
  const now = current(row)
  if (now.heldBy !== '') fail('LedgerConflict', 'somebody else holds the table')
  if (known) fail('NotHeld', `backfill ${hold.uid} is ${known.state}`)
  const { uid, name, action, holdLSN, holdOffset } = hold
  const held = put(now, { ...skipped, heldBy: uid, nextOffset: holdOffset, position: hold.position })
  store().backfills.set(uid, { ...empty(uid, name, action, row.table), holdLSN, holdOffset })
  return held
}

function closeBackfill(closed: ClosedFacts): LedgerBackfill {
  const { uid, name, action, table, code, message } = closed
  world().check.closed(closed)
  const known = store().backfills.get(uid)
  const facts = { state: 'closed', closeCode: code, closeMessage: message } as const
  if (!known) {
    const made: StoredBackfill = { ...empty(uid, name, action, table), ...facts }
    store().backfills.set(uid, made)
    return shown(made)
  }
  if (known.state === 'held' || (known.state === 'copied' && closed.evenCopied)) {
    const next = change(known, { ...facts, totals: totals(known) })
    freeTable(uid)
    return shown(next)
  }
  return shown(known)
}

function addChunks(uid: string, plan: number, ranges: readonly ChunkRange[], parent?: number): LedgerChunk[] {
  const first = Math.max(-1, ...chunksOf(uid, plan).map(({ chunk }) => chunk)) + 1
  const made = ranges.map((range, index) => ({
    uid,
    plan,
    chunk: first + index,
    range,
    parent,
    state: 'planned' as const,
    attempt: 0,
    rows: 0n,
    bytes: 0n,
  }))
  store().chunks = [...store().chunks, ...made]
  return made
}

export function createLedger(pipeline: string): Ledger {
  return {
    open: async () => {},
    readAll: (signal) =>
      read('read the ledger', signal, () => ({
        tables: store().tables,
        backfills: [...store().backfills.values()].map(shown),
        locked: [],
      })),
    readTables: (signal) => read('read the tables', signal, () => store().tables),
    readTable: (table, signal) =>
      read('read the table', signal, () => store().tables.find((each) => same(each.table, table))),
    claimTable: (claim, signal) =>
      transaction('claim the table', signal, () => {
        const found = store().tables.find((each) => same(each.table, claim.table))
        if (found) return found
        const row: LedgerTable = {
          pipeline,
          ...claim,
          // As on a server, no version of an earlier life of the row comes again.
          version: BigInt(store().claims++) * 1_000_000n + 1n,
          incarnation: '',
          nextOffset: 0n,
          position: ORIGIN,
          state: 'active',
          stopCode: '',
          stopMessage: '',
          heldBy: '',
          needsEmptying: false,
        }
        store().tables = [...store().tables, row]
        return row
      }),
    updateTable: (row, patch, signal) =>
      transaction(`update the table ${JSON.stringify(patch, plain)}`, signal, () => put(current(row), patch)),
    releaseTable: (row, signal) =>
      transaction('give the table free', signal, () => {
        const found = current(row)
        store().tables = store().tables.filter((each) => each !== found)
      }),
    readBackfill: (uid, signal) =>
      read('read the backfill', signal, () => {
        const found = store().backfills.get(uid)
        return found && shown(found)
      }),
    readBackfills: (table, signal) =>
      read('read the backfills', signal, () =>
        [...store().backfills.values()].filter((each) => same(each.table, table)).map(shown),
      ),
    recordHeld: (row, hold, signal) =>
      transaction(`record held for ${hold.name}`, signal, () => recordHeld(row, hold)),
    closeBackfill: (closed, signal) =>
      transaction(`close ${closed.name}: ${closed.code}`, signal, () => closeBackfill(closed)),
    beginAttempt: (uid, signal) =>
      transaction('begin an attempt', signal, () => {
        const found = store().backfills.get(uid)
        if (found?.state !== 'held') return fail('NotHeld', `backfill ${uid} is ${found?.state}`)
        return shown(change(found, { attempt: found.attempt + 1 }))
      }),
    recordCopied: (fence, signal) =>
      transaction('record copied', signal, () => {
        const before = store().backfills.get(fence.uid)
        if (before && before.attempt === fence.attempt && /copied|drained/.test(before.state))
          return shown(before)
        const found = fencedBackfill(fence)
        const open = chunksOf(fence.uid, found.plan).some(({ state }) => state === 'planned')
        if (!found.actionDone || found.plan === 0 || open) return fail('Internal', 'not copied yet')
        const next = change(found, { state: 'copied', totals: totals(found) })
        freeTable(fence.uid)
        return shown(next)
      }),
    readChunks: (uid, plan, signal) => read('read the chunks', signal, () => chunksOf(uid, plan)),
    recordPlan: (fence, plan, signal) =>
      transaction(
        `record plan ${plan.plan} of ${plan.ranges.length} chunks${plan.append ? '' : ', upsert'}`,
        signal,
        () => {
          const found = fencedBackfill(fence)
          if (found.plan >= plan.plan) return fail('LedgerConflict', `plan ${found.plan} is there`)
          const { scan, snapshot, visibility } = plan
          const append = found.append && plan.append
          const next = change(found, { plan: plan.plan, scan, snapshot, visibility, append })
          if (plan.discard) store().rows = []
          addChunks(fence.uid, plan.plan, plan.ranges)
          return shown(next)
        },
      ),
    splitChunk: (fence, plan, chunk, parts, signal) =>
      transaction(`split chunk ${chunk}`, signal, () => {
        const backfill = fencedBackfill(fence)
        if (backfill.plan !== plan) return fail('Fenced', 'another plan')
        const found = chunksOf(fence.uid, plan).find((each) => each.chunk === chunk)
        if (found?.state === 'planned') {
          replaceChunk(found, { state: 'split' })
          return addChunks(fence.uid, plan, parts, chunk)
        }
        const there = chunksOf(fence.uid, plan).filter(({ parent }) => parent === chunk)
        return there.length > 0 ? there : fail('LedgerConflict', 'durable already')
      }),
  }
}

export function replaceChunk(found: LedgerChunk, patch: Partial<LedgerChunk>): void {
  store().chunks = store().chunks.map((each) => (each === found ? { ...each, ...patch } : each))
}

const plain = (_: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value)
