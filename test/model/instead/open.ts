import { type ErrorCode, MillraceError } from '../../../lib/errors.ts'
import type {
  ActionRequest,
  Batch,
  ChunkRequest,
  ChunkResult,
  Destination,
  FlushResult,
  RowImage,
} from '../../../workers/destination/destination.ts'
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
} from '../../../workers/destination/ledger.ts'
import { ORIGIN } from '../../../workers/source/position.ts'
import type { Column, TableDefinition } from '../../../workers/source/table.ts'
import { call } from '../process.ts'
import type { StoredBackfill, StoredRow, Value } from '../store.ts'
import { world } from '../world.ts'

// Stands in for workers/destination/open.ts: the port's contract, to the letter, in memory. What keeps that contract on
// a real server is tested there (test/integration/destination-postgres*.test.ts).

const store = () => world().store
const same = (a: { schema: string; name: string }, b: { schema: string; name: string }) =>
  a.schema === b.schema && a.name === b.name

function fail(code: ErrorCode, message: string): never {
  throw new MillraceError(code, message)
}

/** One transaction. Once sent, it may be carried out although whoever sent it is gone. */
function transaction<T>(what: string, signal: AbortSignal, work: () => T): Promise<T> {
  return call(what, () => work(), { signal, lingers: true, abandoned: (sent) => world().late.push(sent) })
}

function read<T>(what: string, signal: AbortSignal, work: () => T): Promise<T> {
  return call(what, () => work(), { signal })
}

// ---- ledger

function current(row: LedgerTable): LedgerTable {
  const found = store().tables.find((each) => each.pipeline === row.pipeline && same(each.table, row.table))
  if (!found || found.version !== row.version) return fail('LedgerConflict', 'the row is at another version')
  return found
}

function put(row: LedgerTable, patch: Partial<LedgerTableFacts>): LedgerTable {
  const next = { ...row, ...patch, version: row.version + 1n }
  store().tables = store().tables.map((each) => (each === row ? next : each))
  world().check.moved(row, next)
  return next
}

function tableOf(uid: string): LedgerTable | undefined {
  return store().tables.find(({ heldBy }) => heldBy === uid)
}

function freeTable(uid: string): void {
  const row = tableOf(uid)
  if (row) put(row, { heldBy: '' })
}

function chunksOf(uid: string, plan: number) {
  return store().chunks.filter((chunk) => chunk.uid === uid && chunk.plan === plan)
}

function totals({ uid, plan }: { uid: string; plan: number }) {
  const done = chunksOf(uid, plan).filter(({ state }) => state === 'done')
  return {
    rows: done.reduce((sum, chunk) => sum + chunk.rows, 0n),
    bytes: done.reduce((sum, chunk) => sum + chunk.bytes, 0n),
  }
}

function shown(backfill: StoredBackfill): LedgerBackfill {
  const { totals: fixed, ...rest } = backfill
  return { ...rest, ...(fixed ?? totals(backfill)) }
}

function change(backfill: StoredBackfill, patch: Partial<StoredBackfill>): StoredBackfill {
  const next = { ...backfill, ...patch, version: backfill.version + 1n }
  store().backfills.set(backfill.uid, next)
  return next
}

function fencedBackfill(fence: Fence): StoredBackfill {
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

function createLedger(pipeline: string): Ledger {
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

function replaceChunk(found: LedgerChunk, patch: Partial<LedgerChunk>): void {
  store().chunks = store().chunks.map((each) => (each === found ? { ...each, ...patch } : each))
}

const plain = (_: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value)

// ---- rows

/** As the real one: columns that are missing come with the source's constant default in the rows that are there. */
function conform(definition: TableDefinition): void {
  store().columns ??= []
  for (const { name, constantDefault } of definition.columns) {
    if (store().columns?.includes(name)) continue
    store().columns?.push(name)
    store().rows = store().rows.map((row) => ({
      ...row,
      values: { ...row.values, [name]: constantDefault ?? null },
    }))
  }
}

const keyOf = ({ key }: TableDefinition, values: Readonly<Record<string, Value | undefined>>) =>
  key.map((name) => values[name]).join('\0')

function named({ columns }: TableDefinition, image: RowImage): Record<string, Value | undefined> {
  return Object.fromEntries(columns.map(({ name }, index) => [name, image[index]]))
}

/** What a new row holds in columns that it does not bring. */
function whole(
  values: Record<string, Value | undefined>,
  base: Readonly<Record<string, Value>> = {},
): StoredRow {
  const all = (store().columns ?? []).map((name) => [
    name,
    values[name] ?? (name in values && values[name] === null ? null : (base[name] ?? null)),
  ])
  return { values: Object.fromEntries(all) as Record<string, Value>, deleted: false }
}

function flush(batch: Batch): FlushResult {
  const row = current(batch.ledger)
  if (row.heldBy !== '') fail('LedgerConflict', 'the table is held')
  const { definition, options } = batch
  const writes = batch.truncate || batch.upserts.length + batch.deletes.length + batch.keyless.length > 0
  let rows = store().rows
  if (writes) {
    if (store().columns === undefined) fail('DestinationConflict', 'the destination table is gone')
    conform(definition)
    rows = store().rows
    const soft = options.deletes === 'Soft'
    const remove = (gone: (each: StoredRow) => boolean) => {
      rows = soft
        ? rows.map((each) => (gone(each) ? { ...each, deleted: true } : each))
        : rows.filter((each) => !gone(each))
    }
    if (batch.truncate) remove(() => true)
    const deleted = new Set(batch.deletes.map((key) => key.join('\0')))
    remove((each) => deleted.has(keyOf(definition, each.values)) && definition.key.length > 0)
    const missing: string[][] = []
    for (const image of batch.upserts) {
      const values = named(definition, image)
      const key = keyOf(definition, values)
      const old = rows.find((each) => keyOf(definition, each.values) === key)
      const lacks = Object.values(values).includes(undefined)
      if (lacks && (!old || old.deleted)) {
        missing.push(definition.key.map((name) => values[name] ?? ''))
        continue
      }
      const made = whole(values, old?.values)
      rows = [...rows.filter((each) => keyOf(definition, each.values) !== key), made]
    }
    if (missing.length > 0) return { kind: 'missing', keys: missing }
    for (const { image, count } of batch.keyless) {
      const made = whole(named(definition, image))
      const text = JSON.stringify(made.values)
      for (let left = -count; left > 0; left -= 1) {
        const at = rows.findIndex(
          (each) => !each.deleted && JSON.stringify(whole(each.values).values) === text,
        )
        if (at >= 0)
          rows = soft ? rows.with(at, { ...(rows[at] as StoredRow), deleted: true }) : rows.toSpliced(at, 1)
      }
      for (let left = count; left > 0; left -= 1) rows = [...rows, made]
    }
  }
  if (batch.drained !== undefined) {
    const found = store().backfills.get(batch.drained)
    if (found?.state !== 'copied') return fail('LedgerConflict', `the backfill is ${found?.state}`)
    change(found, { state: 'drained' })
  }
  store().rows = rows
  if (writes) world().check.applied(row, batch)
  const ledger = put(row, { ...batch.facts, nextOffset: batch.nextOffset, position: batch.position })
  if (batch.drained !== undefined) world().check.drained(batch.drained, batch.position)
  return { kind: 'applied', ledger }
}

function runAction({ fence, definition }: ActionRequest) {
  const found = fencedBackfill(fence)
  if (found.actionDone) return { backfill: shown(found), warnings: [] }
  const row = tableOf(fence.uid)
  if (!row) return fail('NotHeld', 'the backfill does not hold the table')
  if (found.action === 'DoNothing' && row.needsEmptying) fail('ActionRefused', 'changes were lost')
  const existed = store().columns !== undefined
  const had = store().rows.length > 0
  world().check.acted(found.uid, found.action)
  let isEmpty = !existed || !had
  if (existed && found.action !== 'DoNothing') {
    if (found.action === 'Drop') store().columns = undefined
    store().rows = []
    isEmpty = true
  }
  conform(definition)
  if (isEmpty) {
    const emptied = existed && found.action !== 'DoNothing'
    put(row, {
      unknownHistory: false,
      needsEmptying: false,
      historyComplete: row.historyComplete && !emptied,
    })
  }
  return { backfill: shown(change(found, { actionDone: true, append: isEmpty })), warnings: [] }
}

async function writeChunk(request: ChunkRequest, signal: AbortSignal): Promise<ChunkResult> {
  const { fence, definition, plan, chunk, snapshot } = request
  const mode = await read(`begin chunk ${chunk}`, signal, () => {
    const found = fencedBackfill(fence)
    if (found.plan !== plan) return fail('LedgerConflict', 'another plan')
    const state = chunksOf(fence.uid, plan).find((each) => each.chunk === chunk)?.state
    if (state === 'done') return 'done'
    if (state !== 'planned') return fail('LedgerConflict', `the chunk is ${state}`)
    if (!found.actionDone) return fail('LedgerConflict', 'the action has not run')
    if (found.append && found.snapshot === snapshot) return 'append'
    if (definition.key.length > 0) return 'upsert'
    return fail('SnapshotLost', 'rows of another snapshot cannot be put upon those that are there')
  })
  if (mode === 'done') return { rows: 0n, bytes: 0n, written: false }
  let text = ''
  for await (const bytes of request.read(signal)) text += bytes.toString()
  await request.beforeCommit(signal)
  return await transaction(
    `commit chunk ${chunk} (${mode}): ${text.replaceAll('\n', '; ').replaceAll('\t', ' ')}`,
    signal,
    () => {
      const found = fencedBackfill(fence)
      const sameWay =
        found.plan === plan && (mode === 'upsert' || (found.append && found.snapshot === snapshot))
      if (!sameWay) return fail('LedgerConflict', 'the plan was replaced')
      const target = chunksOf(fence.uid, plan).find((each) => each.chunk === chunk)
      if (target?.state !== 'planned') return fail('LedgerConflict', 'the chunk was written or split')
      if (store().columns === undefined) return fail('DestinationConflict', 'the destination table is gone')
      conform(definition)
      const lines = text.split('\n').slice(0, -1)
      for (const line of lines) {
        const image = line.split('\t').map((value) => (value === '\\N' ? null : value))
        const values = named(definition, image)
        const key = keyOf(definition, values)
        const old = mode === 'upsert' && store().rows.find((each) => keyOf(definition, each.values) === key)
        const made = whole(values, old ? old.values : {})
        const others =
          mode === 'append'
            ? store().rows
            : store().rows.filter((each) => keyOf(definition, each.values) !== key)
        store().rows = [...others, made]
      }
      const [rows, bytes] = [BigInt(lines.length), BigInt(text.length)]
      replaceChunk(target, { state: 'done', attempt: fence.attempt, rows, bytes })
      world().check.copied(found.uid)
      return { rows, bytes, written: true }
    },
  )
}

export function openDestination(options: { readonly pipelineUid: string }): Destination {
  const closing = new AbortController()
  const either = (signal: AbortSignal) => AbortSignal.any([signal, closing.signal])
  return {
    kind: 'postgres',
    ledger: createLedger(options.pipelineUid),
    check: (signal) => read('check the destination', signal, () => {}),
    columnExpression: (_column: Column, source: string) => source,
    copyOptions: '(FORMAT text)',
    convertValue: (_column: Column, text: string) => text,
    inspectTable: (_table, signal) =>
      read('inspect the table', signal, () => ({
        exists: store().columns !== undefined,
        empty: store().rows.length === 0,
      })),
    ensureTable: (_target, definition, _options, signal) =>
      transaction('ensure the table', either(signal), () => {
        conform(definition)
        return { columns: [...(store().columns ?? [])] }
      }),
    flush: (batch, signal) =>
      transaction(
        `flush ${batch.truncate ? 'truncate, ' : ''}${batch.deletes.length} deletes, ${JSON.stringify(batch.upserts)} to ${batch.nextOffset}${batch.drained ? ', drained' : ''}`,
        either(signal),
        () => flush(batch),
      ),
    runAction: (request, signal) =>
      transaction(`run ${request.backfill.action}`, either(signal), () => runAction(request)),
    writeChunk: (request, signal) => writeChunk(request, either(signal)),
    compare: () => Promise.reject(new Error('the model compares by itself')),
    async close() {
      closing.abort(new Error('the destination was closed'))
    },
  }
}
