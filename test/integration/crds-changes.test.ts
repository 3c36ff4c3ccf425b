import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Pipeline, PipelineStatus } from '../../crds/pipeline.ts'
import type { TableBackfill, TableBackfillStatus } from '../../crds/table-backfill.ts'
import {
  type Edit,
  edited,
  fullPipeline,
  leastBackfill,
  leastPipeline,
  redshift,
} from './custom-resource-specs.ts'
import { type CustomResources, complaint, openCustomResources } from './custom-resources.ts'

const dryRun = { dryRun: true }
let api: CustomResources

beforeAll(async () => {
  api = await openCustomResources('crds-changes')
})

afterAll(() => api?.close())

const createPipeline = (name: string, spec: object) =>
  api.create<Pipeline>({ kind: 'Pipeline', metadata: { name }, spec })

const createBackfill = (name: string, spec: object) =>
  api.create<TableBackfill>({ kind: 'TableBackfill', metadata: { name }, spec })

const at = '2026-01-01T00:00:00Z'

describe('a Pipeline that has begun', () => {
  let stored: Pipeline

  beforeAll(async () => {
    await createPipeline('begun', fullPipeline)
    const table = { schema: 'public', name: 'orders', state: 'Streaming' }
    await api.applyStatus('Pipeline', 'begun', 'capture', { capture: { systemIdentifier: '7' } })
    stored = await api.applyStatus('Pipeline', 'begun', 'apply', { apply: { tables: [table] } })
  })

  const refused: [what: string, edit: Edit, message: string][] = [
    [
      'the source database',
      (s) => (s.source.postgres.database = 'other'),
      'spec.source.postgres.database: Invalid value: "object": database cannot be changed once capture was connected, because another database has another history: create another Pipeline (was "shop", found "other")',
    ],
    [
      'the slot',
      (s) => (s.source.postgres.slot = 'other'),
      'spec.source.postgres.slot: Invalid value: "object": slot cannot be changed once capture was connected, because another slot lacks the changes since this one began: restore the old value, or create another Pipeline (was "shop_1", found "other")',
    ],
    [
      'the slot to the default',
      (s) => delete s.source.postgres.slot,
      'spec.source.postgres.slot: Invalid value: "object": slot cannot be changed once capture was connected, because another slot lacks the changes since this one began: restore the old value, or create another Pipeline (was "shop_1", found unset)',
    ],
    [
      'the publication',
      (s) => (s.source.postgres.publication = 'other'),
      'spec.source.postgres.publication: Invalid value: "object": publication cannot be changed once capture was connected, because another one publishes other changes: restore the old value, or create another Pipeline (was "Odd "name"", found "other")',
    ],
    [
      'the topic prefix',
      (s) => (s.queue.kafka.topicPrefix = 'other'),
      'spec.queue.kafka.topicPrefix: Invalid value: "object": topicPrefix cannot be changed once capture was connected, because what the old topics hold would be lost: restore the old value, or create another Pipeline (was "shop.v1", found "other")',
    ],
    [
      'the kind of destination',
      (s) => (s.destination = { redshift }),
      'spec.destination: Invalid value: "object": destination cannot be changed to another kind once tables were applied, because it would begin empty: create another Pipeline',
    ],
    [
      'the destination database',
      (s) => (s.destination.postgres.database = 'other'),
      'spec.destination.postgres.database: Invalid value: "object": database cannot be changed once tables were applied, because the record of what was applied is kept there: create another Pipeline (was "dw", found "other")',
    ],
    [
      'the schema of the ledger',
      (s) => (s.destination.postgres.ledgerSchema = 'other'),
      'spec.destination.postgres.ledgerSchema: Invalid value: "object": ledgerSchema cannot be changed once tables were applied, because the record of what was applied is kept there: create another Pipeline (was "millrace_shop", found "other")',
    ],
    [
      'the default schema',
      (s) => delete s.destination.postgres.schema,
      'spec.destination.postgres.schema: Invalid value: "object": schema cannot be changed once tables were applied, because the tables would be left behind: restore the old value, or create another Pipeline (was "Raw Data", found unset)',
    ],
    [
      'the destination of a table',
      (s) => (s.tables[1].destination.name = 'other'),
      'spec.tables[1].destination: Invalid value: "object": destination cannot be changed, because the rows would be left behind: remove the table from the list, and add it again with the new destination (table old.orders)',
    ],
    [
      'the destination of a table to the default',
      (s) => delete s.tables[2].destination,
      'spec.tables[2].destination: Invalid value: "object": destination cannot be changed, because the rows would be left behind: remove the table from the list, and add it again with the new destination (table public.select)',
    ],
    [
      'the replicas to none, while they are read',
      (s) => delete s.source.postgres.replicas,
      '[spec.backfill.readFrom: Invalid value: "object": readFrom Replica needs a replica: list one in source.postgres.replicas, or set readFrom to Primary, spec.tables: Invalid value: "object": readFrom Replica needs a replica: list one in source.postgres.replicas, or set readFrom to Primary]',
    ],
  ]

  it.each(refused)('cannot change %s', async (_, edit, message) => {
    const changed = { ...stored, spec: edited(stored.spec, edit) }
    expect(await complaint(api.replace(changed, dryRun))).toBe(message)
  })

  const taken: [what: string, edit: Edit][] = [
    ['the host', (s) => (s.source.postgres.host = 'promoted.example')],
    ['the order of tables, and remove one', (s) => (s.tables = [s.tables[2], s.tables[0]])],
    ['the list of tables', (s) => s.tables.unshift({ name: 'new' })],
    [
      'all settings',
      (s) => {
        s.state = 'Stopped'
        s.backfill.parallelism = 9
        s.apply.deletes = 'Hard'
        s.deletionPolicy = 'Delete'
        s.tables[0].columns = { include: ['id'] }
      },
    ],
  ]

  it.each(taken)('can change %s', async (_, edit) => {
    const changed = { ...stored, spec: edited(stored.spec, edit) }
    expect(await complaint(api.replace(changed, dryRun))).toBe('')
  })
})

describe('a Pipeline that has not begun', () => {
  it('can be corrected', async () => {
    const { metadata, spec } = await createPipeline('mistyped', fullPipeline)
    const changed = edited(spec, (s) => {
      s.source.postgres.database = 'other'
      delete s.source.postgres.slot
      s.source.postgres.publication = 'other'
      s.queue.kafka.topicPrefix = 'other'
      s.destination = { redshift }
    })
    const written = {
      kind: 'Pipeline',
      metadata: { name: metadata.name, resourceVersion: metadata.resourceVersion ?? '' },
      spec: changed,
    }
    expect(await complaint(api.replace(written, dryRun))).toBe('')
  })
})

describe('the status of a Pipeline', () => {
  const tables = [{ schema: 'public', name: 'orders' }]

  it('has one writer for each part', async () => {
    await createPipeline('written', leastPipeline)
    await api.applyStatus('Pipeline', 'written', 'operator', {
      observedGeneration: 1,
      conditions: [
        {
          type: 'Ready',
          status: 'False',
          observedGeneration: 1,
          lastTransitionTime: at,
          reason: 'Starting',
          message: '',
        },
      ],
      counts: { tables: 1, streaming: 0, backfilling: 0, queued: 1, failed: 0 },
      lag: '2s',
      tables: tables.map((table) => ({
        ...table,
        state: 'Queued',
        message: 'waits',
        backfill: 'b',
        historyComplete: false,
      })),
    } satisfies PipelineStatus)
    await api.applyStatus('Pipeline', 'written', 'capture', {
      capture: {
        slot: 'a',
        publication: 'a',
        systemIdentifier: '7463592341234567890',
        timeline: 1,
        epoch: 1,
        confirmedLSN: '16/B374D848',
        retainedWALBytes: 9_007_199_254_740_991,
        tables,
        problems: [{ component: 'Table', table: tables[0], code: 'TableNotFound', message: 'no such table' }],
      },
    } satisfies PipelineStatus)
    await api.applyStatus('Pipeline', 'written', 'apply', {
      apply: {
        tables: tables.map((table) => ({
          ...table,
          state: 'Stopped',
          code: 'TableChanged',
          message: 'changed',
          lagSeconds: 3,
          needsEmptying: true,
          historyComplete: false,
        })),
      },
    } satisfies PipelineStatus)
    // Less than before: what a writer leaves out goes, what others wrote stays.
    const { status } = await api.applyStatus<Pipeline>('Pipeline', 'written', 'capture', {
      capture: { confirmedLSN: '16/B374D900' },
    } satisfies PipelineStatus)
    expect(status?.capture).toEqual({ confirmedLSN: '16/B374D900' })
    expect(status?.apply?.tables).toHaveLength(1)
    expect(status?.tables?.[0]?.state).toBe('Queued')
    expect(status?.counts?.queued).toBe(1)
  })

  it('takes a thousand tables with the longest names, quickly', async () => {
    const many = Array.from({ length: 1000 }, (_, i) => {
      const name = `${i}`.padEnd(63, 'x')
      return { schema: name, name }
    })
    await createPipeline('large', {
      ...leastPipeline,
      tables: many.map((table) => ({ ...table, destination: table })),
    })
    const started = performance.now()
    const { status } = await api.applyStatus<Pipeline>('Pipeline', 'large', 'capture', {
      capture: { tables: many },
    })
    expect(status?.capture?.tables).toHaveLength(1000)
    expect(performance.now() - started).toBeLessThan(15_000)
  })
})

describe('a TableBackfill that exists', () => {
  let stored: TableBackfill

  beforeAll(async () => {
    stored = await createBackfill('exists', { ...leastBackfill, cancel: true })
  })

  const refused: [what: string, edit: Edit, message: string][] = [
    [
      'the Pipeline',
      (s) => (s.pipelineRef.name = 'other'),
      'spec.pipelineRef: Invalid value: "object": pipelineRef cannot be changed: create another TableBackfill (was "shop", found "other")',
    ],
    [
      'the table',
      (s) => (s.table.name = 'items'),
      'spec.table: Invalid value: "object": table cannot be changed: create another TableBackfill (was "public.orders", found "public.items")',
    ],
    [
      'the action',
      (s) => (s.destinationTable = 'Drop'),
      'spec.destinationTable: Invalid value: "string": destinationTable cannot be changed: create another TableBackfill (was "DoNothing", found "Drop")',
    ],
    [
      'a setting',
      (s) => (s.backfill.parallelism = 1),
      'spec.backfill: Invalid value: "object": backfill cannot be changed: create another TableBackfill',
    ],
    [
      'the comparison',
      (s) => (s.verify = 'AfterBackfill'),
      'spec.verify: Invalid value: "object": verify cannot be changed: create another TableBackfill',
    ],
    [
      'the limit',
      (s) => (s.backoffLimit = 1),
      'spec.backoffLimit: Invalid value: "integer": backoffLimit cannot be changed: create another TableBackfill',
    ],
    [
      'cancel back',
      (s) => (s.cancel = false),
      'spec.cancel: Invalid value: "boolean": cancel cannot be taken back: create another TableBackfill',
    ],
    [
      'cancel by leaving it out',
      (s) => delete s.cancel,
      'spec.cancel: Invalid value: "boolean": cancel cannot be taken back: create another TableBackfill',
    ],
  ]

  it.each(refused)('cannot change %s', async (_, edit, message) => {
    const changed = { ...stored, spec: edited(stored.spec, edit) }
    expect(await complaint(api.replace(changed, dryRun))).toBe(message)
  })

  it('can be suspended, resumed and cancelled', async () => {
    let latest = await createBackfill('changing', leastBackfill)
    for (const change of [{ suspend: true }, { suspend: false }, { cancel: true }]) {
      latest = await api.replace<TableBackfill>({ ...latest, spec: { ...latest.spec, ...change } })
      expect(latest.spec).toMatchObject(change)
    }
  })

  it('has one writer for each part of its status, and can be found by it', async () => {
    await createBackfill('copying', { ...leastBackfill, pipelineRef: { name: 'another' } })
    await api.applyStatus('TableBackfill', 'copying', 'backfill', {
      copy: {
        stage: 'Copying',
        attempt: 1,
        server: '10.0.0.2:5432',
        scan: 'Key',
        rowsCopied: 3_000_000_000,
        rowsEstimated: 4_000_000_000,
        bytesCopied: 1,
        chunksDone: 3,
        chunksTotal: 4,
        holdLSN: '0/1',
        actionDone: true,
        failed: { code: 'ConnectionLost', message: 'lost', retryable: true },
      },
      verify: {
        result: 'Different',
        rangesDone: 2,
        rangesTotal: 2,
        rowsCompared: 3_000_000_000,
        rangesDifferent: 1,
        rowsDifferent: 1,
        rowsChanged: 1,
        rowsMissing: 0,
        rowsExtra: 0,
        rowsUndecided: 1,
        examples: [{ key: '["1","a"]', kind: 'Changed' }],
      },
    } satisfies TableBackfillStatus)
    await api.applyStatus('TableBackfill', 'copying', 'apply', {
      queue: { state: 'Held', heldLSN: '0/1', lagSeconds: 9, historyComplete: false },
    } satisfies TableBackfillStatus)
    const { status } = await api.applyStatus<TableBackfill>('TableBackfill', 'copying', 'operator', {
      observedGeneration: 1,
      phase: 'Backfilling',
      message: 'copying',
      progress: '75%',
      failures: 0,
      startTime: at,
      heldTime: at,
      conditions: [
        {
          type: 'Succeeded',
          status: 'Unknown',
          observedGeneration: 1,
          lastTransitionTime: at,
          reason: 'Backfilling',
          message: '',
        },
      ],
    } satisfies TableBackfillStatus)
    expect(status).toMatchObject({ phase: 'Backfilling', copy: { chunksDone: 3 }, queue: { state: 'Held' } })
    expect(await api.select('TableBackfill', 'spec.pipelineRef.name=another')).toEqual(['copying'])
    expect(await api.select('TableBackfill', 'status.phase=Backfilling')).toEqual(['copying'])
    expect(await api.select('TableBackfill', 'spec.table.name=items')).toEqual([])
  })
})
