import { appendFileSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import type { PipelineManifestSpec } from '../../../crds/pipeline.ts'
import type { PipelineStatus } from '../../../crds/pipeline-status.ts'
import { namespaceManifest, pipelineManifest } from '../../../hack/demo/manifests.ts'
import { kubeApiOver } from '../../../lib/kube/client.ts'
import { runApply } from '../../../workers/apply/run.ts'
import { runBackfill } from '../../../workers/backfill/run.ts'
import { runCapture } from '../../../workers/capture/run.ts'
import type { ComparedTable } from '../compare.ts'
import type { Say } from '../report.ts'
import type { Databases } from './databases.ts'
import type { FuzzServers } from './servers.ts'
import { type KeptWorker, keepWorker, type RunningWorker, startWorker } from './workers.ts'

/** A Pipeline whose workers run in this process. There is no operator: the run itself asks for backfills. */
export interface FuzzPipeline {
  readonly servers: FuzzServers
  readonly namespace: string
  readonly capture: KeptWorker
  readonly apply: KeptWorker
  /** What capture and apply say at present. */
  status(): Promise<PipelineStatus>
  startBackfill(name: string, uid: string): RunningWorker
  /** Ends all workers. */
  close(): Promise<void>
}

export interface FuzzPipelineOptions {
  readonly servers: FuzzServers
  readonly databases: Databases
  readonly tables: readonly ComparedTable[]
  readonly chunkRows: number
  readonly parallelism: number
  readonly flushSeconds?: number
  readonly say: Say
}

export const PIPELINE = 'fuzz'

/** Makes the Pipeline and starts capture and apply. */
export async function startPipeline(options: FuzzPipelineOptions): Promise<FuzzPipeline> {
  const { servers, databases, say } = options
  const { cluster, dir } = servers
  const namespace = databases.name.replaceAll('_', '-')
  await cluster.apply(namespaceManifest(namespace), pipelineManifest(namespace, PIPELINE, specOf(options)))
  const made = await cluster.pipeline(namespace, PIPELINE)
  const secretsDir = mkdtempSync(join(dir, 'secrets-'))
  for (const mount of ['source', 'destination'] as const)
    writeSecret(join(secretsDir, mount), new URL(databases[mount]))
  const logFile = join(dir, `${namespace}.log`)
  const base = {
    env: {
      namespace,
      pipeline: PIPELINE,
      pipelineUid: made?.metadata.uid ?? '',
      backfill: undefined,
      backfillUid: undefined,
      secretsDir,
      port: 0,
      logLevel: 'info',
      shutdownSeconds: 25,
    },
    log: pino({ level: 'info' }, { write: (line: string) => appendFileSync(logFile, line) }),
    kube: kubeApiOver(cluster.transport),
  }
  const keep = (name: string, main: typeof runApply) =>
    keepWorker(
      () => startWorker(main, base),
      (message) => say(`${name} has ended by itself and is started again: ${message}`),
    )
  const capture = keep('capture', runCapture)
  const apply = keep('apply', runApply)
  const backfills: RunningWorker[] = []
  return {
    servers,
    namespace,
    capture,
    apply,
    status: async () => (await cluster.pipeline(namespace, PIPELINE))?.status ?? {},
    startBackfill(name, uid) {
      const worker = startWorker(runBackfill, base, { backfill: name, backfillUid: uid })
      backfills.push(worker)
      return worker
    },
    async close() {
      await Promise.all([capture.stop(), apply.stop(), ...backfills.map((worker) => worker.end())])
    },
  }
}

function specOf({
  servers,
  databases,
  tables,
  chunkRows,
  parallelism,
  flushSeconds,
}: FuzzPipelineOptions): PipelineManifestSpec {
  const common = {
    database: databases.name,
    sslMode: 'Disable' as const,
    credentialsSecretRef: { name: 'of-the-folder' },
  }
  return {
    source: {
      postgres: {
        ...common,
        ...place(databases.source),
        replicas: [place(databases.replica)],
        heartbeatSeconds: 1,
      },
    },
    queue: { kafka: { bootstrapServers: [servers.brokers] } },
    destination: { postgres: { ...common, ...place(databases.destination) } },
    tables: tables.map(({ schema, name }) => ({ schema, name })),
    backfill: { chunkRows, parallelism },
    ...(flushSeconds !== undefined && { apply: { flushSeconds } }),
  }
}

const place = (url: string) => ({ host: new URL(url).hostname, port: Number(new URL(url).port) })

function writeSecret(folder: string, { username, password }: URL): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'username'), decodeURIComponent(username))
  writeFileSync(join(folder, 'password'), decodeURIComponent(password))
}

/** Why a table is not replicated at present, as the Pipeline says it; undefined when it says that all is well. */
export function doubtOf(status: PipelineStatus, table: ComparedTable): string | undefined {
  const isOf = (other: { schema: string; name: string } | undefined) =>
    other?.schema === table.schema && other.name === table.name
  const problem = [...(status.capture?.problems ?? []), ...(status.apply?.problems ?? [])].find((one) =>
    isOf(one.table),
  )
  if (problem) return `${problem.code}: ${problem.message}`
  const applied = status.apply?.tables?.find(isOf)
  if (!applied) return 'apply does not have it'
  const { state, code, message, historyComplete, needsEmptying, unfit } = applied
  const reason = [code, message].filter(Boolean).join(': ')
  if (state !== 'Streaming') return `${state} ${reason}`
  if (needsEmptying) return `needs emptying ${reason}`
  if (historyComplete === false) return `its history is incomplete ${reason}`
  return unfit && unfit.length > 0 ? `values that do not fit: ${JSON.stringify(unfit)}` : undefined
}
