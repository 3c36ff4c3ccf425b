import { readdir, readFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect } from 'vitest'
import type { BackfillPhase } from '../../crds/api.ts'
import type { Pipeline, PipelineManifestSpec } from '../../crds/pipeline.ts'
import type { TableBackfill, TableBackfillManifestSpec } from '../../crds/table-backfill.ts'
import { foldedName } from '../../hack/demo/compare-redshift.ts'
import { compareWithDestination } from '../../hack/demo/destination.ts'
import { type Cluster, connectCluster, waitUntil } from '../../hack/demo/kube.ts'
import { backfillManifest, pipelineManifest } from '../../hack/demo/manifests.ts'
import { asSuperuser, createSite, OWNER, type Site } from '../../hack/demo/site.ts'
import { destinationKind, readStackEnv, type StackEnv } from '../../hack/demo/stack-env.ts'

/** What every end-to-end test works with: the running local stack and a site of its own. */
export interface Stage {
  readonly env: StackEnv
  readonly cluster: Cluster
  readonly site: Site
}

export const PIPELINE = 'shop'

/** Whether the suite runs with `DEST=redshift`, against the stack's Redshift emulator. */
export const REDSHIFT = destinationKind() === 'redshift'

/** Name of a table in the destination. */
export function inDestination<T extends { readonly schema: string; readonly name: string }>(table: T) {
  return REDSHIFT ? { schema: foldedName(table.schema), name: foldedName(table.name) } : table
}

/** Makes a site for the tests of a file, and removes it afterwards unless KEEP=1. */
export function useStage(name: string): () => Stage {
  let stage: Stage | undefined
  beforeAll(async () => {
    const env = await readStackEnv()
    const cluster = await connectCluster(env.KUBECONFIG)
    stage = { env, cluster, site: await createSite(env, cluster, `e2e-${name}`) }
  })
  afterAll(async () => {
    if (process.env.KEEP !== '1') await stage?.site.remove()
    stage?.cluster.close()
  })
  return () => {
    if (!stage) throw new Error('the stage is not set yet')
    return stage
  }
}

/** Runs statements in the site's source database as the owner of its tables. */
export async function onSource(stage: Stage, ...statements: readonly string[]): Promise<void> {
  await asSuperuser(stage.site.sourceUrl, async (client) => {
    await client.query(`SET ROLE ${OWNER}`)
    for (const sql of statements) await client.query(sql)
  })
}

/** One value from a database. */
export async function value(url: string, sql: string, parameters: unknown[] = []): Promise<string | null> {
  return await asSuperuser(url, async (client) => {
    const result = await client.query({ text: sql, values: parameters, rowMode: 'array' })
    const cell = (result.rows as unknown[][])[0]?.[0]
    return cell === null || cell === undefined ? null : String(cell)
  })
}

export async function applyPipeline(
  stage: Stage,
  spec: Omit<PipelineManifestSpec, 'source' | 'queue' | 'destination'> & Partial<PipelineManifestSpec>,
  name = PIPELINE,
): Promise<void> {
  await stage.cluster.apply(pipelineManifest(stage.site.namespace, name, { ...stage.site.spec, ...spec }))
}

export async function applyBackfill(
  stage: Stage,
  name: string,
  table: string,
  spec: Partial<TableBackfillManifestSpec> = {},
): Promise<void> {
  await stage.cluster.apply(
    backfillManifest(stage.site.namespace, name, {
      pipelineRef: { name: PIPELINE },
      table: { name: table },
      ...spec,
    }),
  )
}

/** Changes the two mutable fields of a TableBackfill, or any field of a Pipeline. */
export async function patchSpec(
  stage: Stage,
  plural: 'pipelines' | 'tablebackfills',
  name: string,
  spec: object,
): Promise<void> {
  await stage.cluster.patch(
    `/apis/millrace.dev/v1alpha1/namespaces/${stage.site.namespace}/${plural}/${name}`,
    { spec },
  )
}

/** Waits until tables of the Pipeline are Streaming with all their history; one whose backfill has failed is not. */
export async function waitForStreaming(
  stage: Stage,
  tables: readonly string[],
  seconds = 300,
): Promise<Pipeline> {
  let last: Pipeline | undefined
  return await waitUntil(
    `${tables.join(', ')} Streaming`,
    seconds,
    async () => {
      last = await stage.cluster.pipeline(stage.site.namespace, PIPELINE)
      const whole = last?.status?.tables?.filter(
        ({ state, historyComplete }) => state === 'Streaming' && historyComplete === true,
      )
      return tables.every((wanted) => whole?.some(({ name }) => name === wanted)) && last
    },
    async () => JSON.stringify({ pipeline: last?.status, backfills: await phases(stage) }),
  )
}

export async function waitForPhase(
  stage: Stage,
  name: string,
  wanted: readonly BackfillPhase[],
  seconds = 120,
): Promise<TableBackfill> {
  let last: TableBackfill | undefined
  return await waitUntil(
    `TableBackfill ${name} ${wanted.join(' or ')}`,
    seconds,
    async () => {
      last = await stage.cluster.backfill(stage.site.namespace, name)
      const phase = last?.status?.phase
      return phase !== undefined && wanted.includes(phase) && last
    },
    () => JSON.stringify(last?.status ?? 'not there'),
    100,
  )
}

/** Name of the newest TableBackfill of a table. */
export async function backfillOf(stage: Stage, table: string): Promise<string> {
  const all = await stage.cluster.backfills(stage.site.namespace)
  const found = all.filter(({ spec }) => spec.table.name === table).at(-1)
  if (!found) throw new Error(`no TableBackfill for ${table}`)
  return found.metadata.name
}

async function phases(stage: Stage): Promise<object> {
  const all = await stage.cluster.backfills(stage.site.namespace)
  return Object.fromEntries(
    all.map(({ metadata, status }) => [metadata.name, `${status?.phase}: ${status?.message}`]),
  )
}

/** Waits until a change that is made now has arrived in the destination; `insert` takes the mark as $1. */
export async function waitForArrival(
  stage: Stage,
  insert: string,
  probe: string,
  seconds = 120,
): Promise<void> {
  const mark = `mark ${Date.now()} ${Math.random()}`
  await asSuperuser(stage.site.sourceUrl, (client) => client.query(insert, [mark]))
  await waitUntil(
    `arrival of: ${insert}`,
    seconds,
    async () => (await value(stage.site.destinationUrl, probe, [mark])) !== null,
  )
}

/** Every row of a table is in the destination to the letter, once, and no other; what was queued has arrived. */
export async function expectEqual(
  { env, site }: Stage,
  table: { readonly schema?: string; readonly name: string; readonly columns?: readonly string[] },
  key: readonly string[] = ['id'],
): Promise<{ readonly rows: number }> {
  const source = { schema: table.schema ?? 'public', name: table.name }
  const { rows, different, examples } = await compareWithDestination(env, site, {
    source,
    destination: inDestination(source),
    key,
    ...(table.columns && { columns: table.columns }),
  })
  expect(examples).toEqual([])
  expect(different).toBe(0)
  return { rows }
}

/** A live worker process, seen from this machine. */
export interface WorkerProcess {
  readonly pid: number
  readonly name: 'capture' | 'apply' | 'backfill' | 'cleanup' | 'operator'
  readonly backfill: string
}

/** Processes of a Pipeline's pods (by uid), and the operator's. */
export async function workerProcesses(pipelineUid?: string): Promise<WorkerProcess[]> {
  const found: WorkerProcess[] = []
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const command = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '')
    const match = /(?:workers\/)?(capture|apply|backfill|cleanup|operator)\/main\.ts/.exec(command)
    if (!match) continue
    const environment = await readFile(`/proc/${entry}/environ`, 'utf8').catch(() => '')
    const variable = (name: string) =>
      environment
        .split('\0')
        .find((pair) => pair.startsWith(`${name}=`))
        ?.slice(name.length + 1)
    if (match[1] !== 'operator' && variable('MILLRACE_PIPELINE_UID') !== pipelineUid) continue
    found.push({
      pid: Number(entry),
      name: match[1] as WorkerProcess['name'],
      backfill: variable('MILLRACE_BACKFILL') ?? '',
    })
  }
  return found
}

/** Largest resident memory that a process has had, bytes. */
export async function peakMemory(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024
}

/** Processor time that a process has used, seconds. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Watches the peak memory of a Pipeline's processes until stopped; the largest of each kind, bytes. */
export function watchMemory(pipelineUid: () => Promise<string | undefined>): {
  stop(): Promise<Map<string, number>>
} {
  const peaks = new Map<string, number>()
  let stopped = false
  const done = (async () => {
    while (!stopped) {
      const uid = await pipelineUid()
      for (const { pid, name } of uid === undefined ? [] : await workerProcesses(uid)) {
        const bytes = await peakMemory(pid).catch(() => 0)
        peaks.set(name, Math.max(peaks.get(name) ?? 0, bytes))
      }
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
  })()
  return {
    async stop() {
      stopped = true
      await done
      return peaks
    },
  }
}
