import type {
  ActionRequest,
  Batch,
  ChunkRequest,
  ChunkResult,
  Destination,
  FlushResult,
  RowImage,
} from '../../../workers/destination/destination.ts'
import type { Column, TableDefinition } from '../../../workers/source/table.ts'
import {
  change,
  chunksOf,
  createLedger,
  current,
  fail,
  fencedBackfill,
  put,
  read,
  replaceChunk,
  shown,
  store,
  tableOf,
  transaction,
} from '../ledger.ts'
import type { StoredRow, Value } from '../store.ts'
import { world } from '../world.ts'

// Stands in for workers/destination/open.ts: the port's contract, to the letter, in memory. What keeps that contract on
// a real server is tested there (test/integration/destination-postgres*.test.ts).

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
