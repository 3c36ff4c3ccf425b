import { pino } from 'pino'
import type { Batch, Destination } from '../../workers/destination/destination.ts'
import type {
  ChunkPlan,
  DestinationAction,
  Fence,
  HeldFacts,
  LedgerTable,
} from '../../workers/destination/ledger.ts'
import { openDestination } from '../../workers/destination/open.ts'
import type { Secrets } from '../../workers/runtime/context.ts'
import { ORIGIN } from '../../workers/source/position.ts'
import type { Column, TableDefinition, TableName } from '../../workers/source/table.ts'

export const never = new AbortController().signal

/** A destination on a test database, as a worker of the given pipeline would open it. */
export function openOn(
  url: string,
  pipelineUid = 'pipeline-1',
  changes: { schema?: string } = {},
): Destination {
  const { hostname, port, pathname, username, password } = new URL(url)
  const secrets: Secrets = {
    read: async (_mount, file) => (file === 'username' ? username : password),
  }
  return openDestination({
    spec: {
      destination: {
        postgres: {
          host: hostname,
          port: Number(port),
          database: pathname.slice(1),
          sslMode: 'Disable',
          credentialsSecretRef: { name: 'd', usernameKey: 'username', passwordKey: 'password' },
          ledgerSchema: 'millrace',
          ...changes,
        },
      },
    },
    pipelineUid,
    pipelineLabel: `tests/${pipelineUid}`,
    secrets,
    process: 'test',
    log: pino({ level: 'silent' }),
  })
}

/** A column of a built-in type. */
export function column(name: string, type: string, more: Partial<Column> = {}): Column {
  return {
    name,
    type,
    typeOid: 0,
    typeModifier: -1,
    typeKind: type.endsWith('[]') ? 'array' : 'base',
    baseType: type.replace(/(\[\])+$/, ''),
    notNull: false,
    ...more,
  }
}

/** A definition of `public.<name>` with columns given as `'id integer'`. */
export function define(
  name: string,
  columns: readonly (string | Column)[],
  key: readonly string[],
): TableDefinition {
  return {
    schema: 'public',
    name,
    oid: 1,
    columns: columns.map((each) => {
      if (typeof each !== 'string') return each
      const [columnName = '', ...type] = each.split(' ')
      return column(columnName, type.join(' '), { notNull: key.includes(columnName) })
    }),
    key,
    replicaIdentity: key.length > 0 ? 'default' : 'full',
    partitioned: false,
  }
}

export const nameOf = (definition: TableDefinition): TableName => ({
  schema: definition.schema,
  name: definition.name,
})

/** The table's ledger row, claimed under its own name. */
export function claim(destination: Destination, definition: TableDefinition): Promise<LedgerTable> {
  const table = nameOf(definition)
  return destination.ledger.claimTable(
    {
      table,
      destination: table,
      topic: `topic.${definition.name}`,
      historyComplete: false,
      unknownHistory: false,
    },
    never,
  )
}

export const hard = { deletes: 'Hard' } as const
export const soft = { deletes: 'Soft' } as const

/** A batch that changes nothing but what is given; the position moves on by one. */
export function batch(ledger: LedgerTable, definition: TableDefinition, changes: Partial<Batch> = {}): Batch {
  return {
    ledger,
    definition,
    options: hard,
    truncate: false,
    upserts: [],
    deletes: [],
    keyless: [],
    nextOffset: ledger.nextOffset + 1n,
    position: { epoch: 1, lsn: ledger.position.lsn + 16n, sequence: 1 },
    facts: {},
    ...changes,
  }
}

export function hold(
  uid: string,
  action: DestinationAction = 'DoNothing',
  more: Partial<HeldFacts> = {},
): HeldFacts {
  return {
    uid,
    name: `backfill-${uid}`,
    action,
    holdLSN: 0x30c8020n,
    holdOffset: 7n,
    position: { ...ORIGIN, epoch: 1, lsn: 0x30c8000n },
    ...more,
  }
}

export function plan(number: number, chunks: number, more: Partial<ChunkPlan> = {}): ChunkPlan {
  return {
    plan: number,
    scan: 'Key',
    snapshot: '',
    visibility: '',
    append: true,
    ranges: Array.from({ length: chunks }, (_, n) => ({
      kind: 'key' as const,
      ...(n > 0 ? { from: [String(n * 10)] } : {}),
      ...(n < chunks - 1 ? { to: [String((n + 1) * 10)] } : {}),
    })),
    ...more,
  }
}

/** Brings a table to where chunks can be written: held, attempt begun, acted on, planned. */
export async function prepare(
  destination: Destination,
  definition: TableDefinition,
  options: {
    uid: string
    action?: DestinationAction
    chunks?: number
    plan?: Partial<ChunkPlan>
    deletes?: 'Hard' | 'Soft'
    row?: LedgerTable
  },
): Promise<{ fence: Fence; row: LedgerTable }> {
  const row = await destination.ledger.recordHeld(
    options.row ?? (await claim(destination, definition)),
    hold(options.uid, options.action),
    never,
  )
  const { attempt } = await destination.ledger.beginAttempt(options.uid, never)
  const fence = { uid: options.uid, attempt }
  const backfill = await destination.ledger.readBackfill(options.uid, never)
  if (!backfill) throw new Error('no backfill')
  await destination.runAction(
    {
      fence,
      backfill,
      target: row.destination,
      definition,
      options: { deletes: options.deletes ?? 'Hard' },
    },
    never,
  )
  await destination.ledger.recordPlan(fence, plan(1, options.chunks ?? 1, options.plan), never)
  return { fence, row: (await destination.ledger.readTable(row.table, never)) ?? row }
}

/** A chunk request whose bytes are these lines of COPY text. */
export function chunkOf(
  fence: Fence,
  definition: TableDefinition,
  lines: readonly string[],
  more: Partial<Parameters<Destination['writeChunk']>[0]> = {},
): Parameters<Destination['writeChunk']>[0] {
  return {
    fence,
    target: nameOf(definition),
    definition,
    options: hard,
    plan: 1,
    chunk: 0,
    range: { kind: 'all' },
    snapshot: '',
    async *read() {
      for (const line of lines) yield Buffer.from(`${line}\n`)
    },
    beforeCommit: async () => {},
    ...more,
  }
}
