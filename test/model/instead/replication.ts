import { MillraceError } from '../../../lib/errors.ts'
import {
  begin,
  commit,
  frame,
  insert,
  keepalive,
  message,
  relation,
  remove,
  type TestColumn,
  type TestValue,
  truncate,
  update,
  xlogData,
} from '../../../workers/capture/pgoutput-fixture.ts'
import type { ReplicationStream } from '../../../workers/capture/replication.ts'
import type { PostgresTarget } from '../../../workers/source/connect.ts'
import type { SourceIdentity } from '../../../workers/source/identity.ts'
import type { LSN } from '../../../workers/source/lsn.ts'
import { postgresError } from '../../../workers/source/postgres-errors.ts'
import { call, currentProcess, later } from '../process.ts'
import { type Catalog, type Change, OID, type Row, type Transaction } from '../source.ts'
import { SqlError, TYPES } from '../sql.ts'
import { world } from '../world.ts'

// Stands in for workers/capture/replication.ts: the slot of the simulated primary, and what its stream brings.

const failure = (thrown: unknown, target: PostgresTarget) =>
  postgresError(thrown, {
    field: target.field,
    credentialsField: target.credentials.field,
    host: target.host,
    port: target.port,
    database: target.database,
    connecting: false,
  })

let processes = 100
const nextProcessId = () => {
  processes += 1
  return processes
}

export function createSlot(target: PostgresTarget, slot: string, signal: AbortSignal): Promise<LSN> {
  void slot
  const { state, unended } = world().source
  // The name is taken at once; what is not finished goes with its maker.
  const give = () => {
    if (state.slot?.reader === maker) state.slot = undefined
  }
  const maker = { cut: give, owner: currentProcess(), processId: nextProcessId() }
  maker.owner?.onDeath.push(give)
  signal.addEventListener('abort', give, { once: true })
  return call(
    'create the slot',
    () => {
      if (state.slot) throw failure(new SqlError('42710', 'replication slot already exists'), target)
      state.slot = { confirmed: state.end, reader: maker, invalidated: undefined }
      const before = unended().filter((each) => each.items.length > 0)
      return later(
        () =>
          state.slot?.reader !== maker ||
          before.every((each) => each.state === 'ended' || each.state === 'aborted'),
        () => {
          if (state.slot?.reader !== maker)
            throw failure(new SqlError('57P01', 'terminating connection'), target)
          state.slot = { confirmed: state.end, reader: undefined, invalidated: undefined }
          return state.end
        },
      )
    },
    { signal },
  )
}

export async function startReplication(
  target: PostgresTarget,
  options: {
    readonly slot: string
    readonly publication: string
    readonly start: LSN
    readonly identity: SourceIdentity
  },
  signal: AbortSignal,
): Promise<ReplicationStream> {
  const { source } = world()
  const { state } = source
  const process = currentProcess()
  const broken = new AbortController()
  const cut = () => {
    if (state.slot?.reader === reader) state.slot.reader = undefined
    broken.abort(Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' }))
  }
  const reader = { cut, owner: process, processId: nextProcessId() }
  process?.onDeath.push(cut)
  let cursor = 0n
  let catalog: Catalog | undefined
  let queue: Buffer<ArrayBufferLike>[] = []
  let told = 0n

  await call(
    'start replication',
    () => {
      const { slot } = state
      if (state.timeline !== options.identity.timeline) {
        throw new MillraceError('SourceChanged', 'another timeline', { retryable: true })
      }
      if (!slot) throw failure(new SqlError('42704', 'replication slot does not exist'), target)
      if (slot.reader)
        throw failure(new SqlError('55006', 'replication slot "s" is active for PID 99'), target)
      if (slot.invalidated)
        throw failure(new SqlError('55000', 'can no longer get changes from replication slot'), target)
      slot.reader = reader
      cursor = options.start > slot.confirmed ? options.start : slot.confirmed
      queue = [frame('W', Buffer.from([0, 0, 0]))]
    },
    { signal },
  )

  const nextCommit = () =>
    state.commits.find((each) => {
      const { start, end } = each.commit as { start: bigint; end: bigint }
      return start >= cursor && end <= state.flushed
    })
  const isReady = () =>
    broken.signal.aborted || queue.length > 0 || nextCommit() !== undefined || told < state.flushed

  function take(random: number): Buffer {
    broken.signal.throwIfAborted()
    const first = queue.shift()
    if (first) return first
    const transaction = nextCommit()
    if (!transaction) {
      told = state.flushed
      if (told > cursor) cursor = told
      return keepalive(told, random % 4 === 0)
    }
    const frames = encode(transaction)
    cursor = (transaction.commit as { end: bigint }).end
    // The transaction may arrive in pieces, with anything in between.
    const at = 1 + (random % frames.length)
    if (at < frames.length) queue = [Buffer.concat(frames.slice(at))]
    return Buffer.concat(frames.slice(0, at))
  }

  function encode({ xid, items, commit: record }: Transaction): Buffer<ArrayBufferLike>[] {
    const place = record as { start: bigint; end: bigint }
    const out: Buffer[] = [xlogData(begin(place.start, xid))]
    for (const item of items) {
      if (item.op === 'M') {
        const bytes = message(item.prefix, item.content)
        bytes.writeBigUInt64BE(item.lsn, 2)
        out.push(xlogData(bytes))
      } else if (source.isPublished(item.lsn)) out.push(...encodeChange(item))
    }
    out.push(xlogData(commit(place.start, place.end)))
    return out
  }

  function encodeChange(change: Change): Buffer[] {
    const now = source.catalogAt(change.lsn)
    const out: Buffer[] = []
    if (catalog?.wide !== now.wide || catalog.type !== now.type) {
      catalog = now
      out.push(xlogData(relation(OID, 't', identity(), columnsOf(now))))
    }
    out.push(xlogData(encodeRow(change, now.wide)))
    return out
  }

  return {
    processId: reader.processId,
    chunks: {
      async *[Symbol.asyncIterator]() {
        for (;;) yield await call('stream', take, { signal, ready: isReady })
      },
    },
    confirm(lsn) {
      if (broken.signal.aborted) return
      world().check.confirmed(lsn)
      void call(
        `confirm ${lsn}`,
        () => {
          if (state.slot?.reader === reader && lsn > state.slot.confirmed) state.slot.confirmed = lsn
        },
        { lingers: true },
      ).catch(() => {})
    },
    failure: (thrown) =>
      thrown instanceof Error &&
      'code' in thrown &&
      typeof thrown.code === 'string' &&
      !('retryable' in thrown)
        ? failure(thrown, target)
        : thrown,
    async finish() {},
    async close() {
      cut()
    },
  }
}

const oidOf = (type: string) => Number(Object.keys(TYPES).find((oid) => TYPES[oid] === type))

const identity = () => (world().profile.keyless || world().profile.full ? 'f' : 'd')

function columnsOf({ wide, type }: Catalog): TestColumn[] {
  const isFull = identity() === 'f'
  return [
    { name: 'k', typeOid: 23, identity: true },
    { name: 'v', typeOid: oidOf(type), identity: isFull },
    { name: 't', typeOid: 25, identity: isFull },
    ...(wide ? [{ name: 'd', typeOid: 23, identity: isFull }] : []),
  ]
}

function values(row: Row, wide: boolean): TestValue[] {
  return [row.k, row.v, row.t, ...(wide ? [row.d] : [])]
}

function keyOnly(row: Row, wide: boolean): TestValue[] {
  return [row.k, null, null, ...(wide ? [null] : [])]
}

function encodeRow({ op, before, after, keeps }: Change, wide: boolean): Buffer {
  const isFull = identity() === 'f'
  if (op === 'T') return truncate(OID)
  if (op === 'I') return insert(OID, values(after as Row, wide))
  const old = before as Row
  if (op === 'D') return isFull ? remove(OID, 'O', values(old, wide)) : remove(OID, 'K', keyOnly(old, wide))
  const next = values(after as Row, wide)
  if (keeps) next[2] = 0
  if (isFull) return update(OID, next, { mark: 'O', values: values(old, wide) })
  return old.k === after?.k ? update(OID, next) : update(OID, next, { mark: 'K', values: keyOnly(old, wide) })
}
