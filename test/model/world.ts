import type { Pipeline } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import type { Random } from '../torture/random.ts'
import { type Check, createCheck, firstRows } from './check.ts'
import type { Clock } from './clock.ts'
import type { Topic } from './instead/kafka.ts'
import { type Cluster, createCluster } from './kube.ts'
import type { Job } from './operator.ts'
import type { Call, Process } from './process.ts'
import type { Profile } from './profile.ts'
import { createSource, type Source } from './source.ts'
import type { ServerSession, Snapshot } from './sql.ts'
import { createStore, type Store } from './store.ts'

/** Everything that one schedule plays in. */
export interface World {
  readonly profile: Profile
  readonly clock: Clock
  readonly source: Source
  readonly topics: Map<string, Topic>
  readonly store: Store
  readonly cluster: Cluster
  readonly jobs: Map<string, Job>
  readonly check: Check
  /** Sent by processes that are gone, or have turned away; may still happen. */
  readonly late: Call[]
  /** Such a call is happening at this moment. */
  isLate: boolean
  readonly sessions: Set<ServerSession>
  readonly exported: Map<string, { readonly snapshot: Snapshot; readonly session: ServerSession }>
  snapshots: number
  /** Names are numbered. */
  made: number
  listedBefore: ReadonlySet<string>
  capture: Process | undefined
  apply: Process | undefined
  /** Processes that were given up and live on. */
  readonly ghosts: Process[]
  readonly log: string[]
  /** Chooses how the next backfill scans. */
  scanOf(): TableBackfill['spec']['backfill']
  startBackfill(backfill: TableBackfill): Process
}

let present: World | undefined

export function world(): World {
  if (!present) throw new Error('there is no world')
  return present
}

/** Makes a new world and leaves it as the present one. */
export function createWorld(
  profile: Profile,
  clock: Clock,
  random: Random,
  startBackfill: World['startBackfill'],
): World {
  clock.reset()
  const made: World = {
    profile,
    clock,
    source: createSource(profile),
    topics: new Map(),
    store: createStore(),
    cluster: createCluster(pipelineOf(profile)),
    jobs: new Map(),
    check: undefined as unknown as Check,
    late: [],
    isLate: false,
    sessions: new Set(),
    exported: new Map(),
    snapshots: 0,
    made: 0,
    listedBefore: new Set(),
    capture: undefined,
    apply: undefined,
    ghosts: [],
    log: [],
    scanOf: () => ({
      scan: random.pick(profile.scans),
      chunkRows: 1 + random.below(2),
      parallelism: 1 + random.below(2),
    }),
    startBackfill,
  }
  present = made
  Object.assign(made, { check: createCheck() })
  const rows = firstRows()
  if (rows.length > 0) {
    made.store.columns = ['k', 'v', 't']
    made.store.rows = rows
  }
  return made
}

function pipelineOf(profile: Profile): Pipeline {
  const secret = { name: 's' }
  return {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'Pipeline',
    metadata: {
      name: 'p',
      namespace: 'ns',
      uid: 'P',
      generation: 1,
      creationTimestamp: '2026-11-22T00:00:00Z',
    },
    spec: {
      state: 'Running',
      source: {
        postgres: {
          host: 'primary',
          port: 5432,
          database: 'db',
          sslMode: 'Disable',
          credentialsSecretRef: secret,
          replicas: [{ host: 'replica', port: 5432 }],
          publication: 'p',
          slot: 's',
          heartbeatSeconds: 60,
        },
      },
      queue: { kafka: { bootstrapServers: ['kafka:9092'], retentionSeconds: 5 } },
      destination: {
        postgres: {
          host: 'destination',
          port: 5432,
          database: 'db',
          sslMode: 'Disable',
          credentialsSecretRef: secret,
          ledgerSchema: 'millrace',
        },
      },
      tables: [],
      backfill: {
        maxConcurrentTables: 1,
        parallelism: 2,
        chunkRows: 2,
        scan: 'Key',
        ...(profile.keyless ? {} : { readFrom: profile.readFrom }),
      },
      apply: {
        flushSeconds: 1,
        flushRows: 3,
        flushBytes: 1_000_000,
        deletes: profile.soft ? 'Soft' : 'Hard',
      },
      onGap: 'Backfill',
      deletionPolicy: 'Delete',
    },
  } as unknown as Pipeline
}
