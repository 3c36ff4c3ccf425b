import { createService } from './api/operations.ts'
import { createRunner } from './api/runner.ts'
import { startServer } from './api/server.ts'
import { createSessions } from './api/sessions.ts'
import { createStore } from './api/store.ts'
import { createClientTokens } from './api/tokens.ts'
import { createS3Reader, type S3Options, s3Failure } from './copy/s3.ts'
import { createEngines } from './engine/engines.ts'
import type { Isolation } from './engine/errors.ts'
import type { Collation } from './engine/session.ts'
import { createFaults, type Fault, type Faults } from './faults.ts'
import { type Clock, DEFAULT_LIMITS, type Limits, type Operation, systemClock } from './options.ts'
import { cutStream } from './s3/cut-stream.ts'
import { createStatementLog } from './statement-log.ts'

export interface EmulatorOptions {
  /** PostgreSQL database, as a superuser, that stands for the Redshift database. Better empty at first. */
  readonly postgresUrl: string
  /** S3 server that COPY reads from. */
  readonly s3: S3Options
  /** Default: loopback, a free port. */
  readonly host?: string
  readonly port?: number
  /** Name of the Redshift database. Default `dev`. */
  readonly database?: string
  /** Each database of the PostgreSQL server is a Redshift database of the same name, instead of that one alone. */
  readonly everyDatabase?: boolean
  /** What databases say of their collation; texts are compared by their case all the same. Default `case_sensitive`. */
  readonly collation?: Collation
  /** Default `serializable`, the harder of the two. */
  readonly isolation?: Isolation
  /** Clusters and workgroups that are there. Default: whatever is asked for. */
  readonly targets?: readonly string[]
  /** Roles that COPY may assume. Default: all. */
  readonly iamRoles?: readonly string[]
  /** Database users that are no superusers. */
  readonly restrictedUsers?: readonly string[]
  /** Where it is, and where the buckets are. Default `us-east-1`. */
  readonly region?: string
  readonly bucketRegion?: string
  /** Slices of the cluster. Default 2. */
  readonly slices?: number
  /** Statements that run at a time; the others stay SUBMITTED. Default 50. */
  readonly slots?: number
  /** File that every statement is appended to. */
  readonly statementLog?: string
  readonly faults?: readonly Fault[]
  /** Of the generator that faults with a probability draw from. */
  readonly seed?: number
  readonly limits?: Partial<Limits>
  readonly clock?: Clock
}

/** A running Redshift emulator. */
export interface Emulator {
  /** Endpoint for the Data API's clients, and of the control endpoint below `/_emulator/`. */
  readonly url: string
  readonly faults: Faults
  /** Requests since the start, by operation. */
  requests(): Readonly<Record<Operation, number>>
  /** Ends statements and sessions whose time is over by the clock. Happens by itself every second. */
  expire(): Promise<void>
  /** Ends what runs and closes everything. Idempotent. */
  close(): Promise<void>
}

/** Starts an emulator of Amazon Redshift's Data API on a real PostgreSQL and a real S3 server. */
export async function startEmulator(options: EmulatorOptions): Promise<Emulator> {
  const clock = options.clock ?? systemClock
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  const region = options.region ?? 'us-east-1'
  const faults = createFaults(options.seed ?? 1, options.faults)
  const engines = await createEngines({
    url: options.postgresUrl,
    database: options.everyDatabase ? undefined : (options.database ?? 'dev'),
    collation: options.collation ?? 'case_sensitive',
    isolation: options.isolation ?? 'serializable',
    slices: options.slices ?? 2,
    restrictedUsers: options.restrictedUsers ?? [],
  })
  const s3 = createS3Reader(options.s3, ({ bucket, key }, body) => {
    const fault = faults.next([body ? 's3-cut' : 's3-error'], `${bucket}/${key}`)
    if (fault?.kind === 's3-error') throw s3Failure(fault.status, 'InjectedFault', 'A fault of the emulator.')
    return fault?.kind === 's3-cut' && body ? cutStream(body, fault.bytes) : body
  })
  const store = createStore(limits, clock)
  const sessions = createSessions(limits, clock, engines.closeSession)
  const runner = createRunner({
    engineOf: engines.of,
    copy: { s3, region, bucketRegion: options.bucketRegion ?? region, roles: options.iamRoles },
    faults,
    limits,
    clock,
    sessions,
    slots: options.slots ?? 50,
  })
  const service = createService({
    limits,
    clock,
    store,
    sessions,
    runner,
    tokens: createClientTokens(limits.tokenHours, clock),
    log: createStatementLog(options.statementLog),
    defaultUser: 'awsuser',
    targets: options.targets,
  })
  const server = await startServer({
    host: options.host ?? '127.0.0.1',
    port: options.port ?? 0,
    limits,
    clock,
    faults,
    service,
  }).catch(async (error) => {
    await engines.close()
    throw error
  })
  const expire = async () => {
    const oldest = clock.now() - limits.statementHours * 3_600_000
    const overdue = store.active().filter(({ createdAt }) => createdAt <= oldest)
    await Promise.all(overdue.map((record) => runner.cancel(record)))
    await sessions.expire()
  }
  const timer = setInterval(() => void expire(), 1000)
  timer.unref()

  const stop = async () => {
    clearInterval(timer)
    await server.close()
    const active = store.active()
    await Promise.all(active.map((record) => runner.cancel(record)))
    await Promise.all(active.map(({ done }) => done))
    await Promise.all(sessions.all().map((session) => sessions.close(session)))
    s3.close()
    await engines.close()
  }
  let stopping: Promise<void> | undefined
  return {
    url: server.url,
    faults,
    requests: server.requests,
    expire,
    close: () => {
      stopping ??= stop()
      return stopping
    },
  }
}
