import { spawnSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { stringify } from 'yaml'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import type { Comparison } from './compare.ts'
import { compareWithDestination } from './destination.ts'
import { installOperator } from './install.ts'
import { type Cluster, connectCluster, type Manifest } from './kube.ts'
import { backfillManifest, pipelineManifest } from './manifests.ts'
import { createProgressScreen, progressRow } from './progress.ts'
import { createShop, SHOP_TABLES } from './shop.ts'
import { asSuperuser, createSite, OWNER, type Site } from './site.ts'
import { readStackEnv } from './stack-env.ts'
import { startWriteLoad, type WriteLoad } from './write-load.ts'

/** `make demo`: the whole story of a Pipeline on the local stack, with writes going on all through. */

const RATE = Number(process.env.RATE ?? 500)
const SCALE = Number(process.env.SCALE ?? 1)
const KEEP = process.env.KEEP === '1'
/** Longest that one backfill may take to reach Streaming, seconds. */
const PATIENCE = 900
const PIPELINE = 'shop'
const AGAIN = 'orders-again'

const started = Date.now()
function say(text: string): void {
  const seconds = ((Date.now() - started) / 1000).toFixed(0).padStart(4)
  console.log(`[${seconds} s] ${text}`)
}

const env = await readStackEnv()
const cluster = await connectCluster(env.KUBECONFIG)
process.exitCode = await main(cluster)
cluster.close()

async function main(cluster: Cluster): Promise<number> {
  say('Installing the custom resources and the operator')
  await installOperator(env, cluster)

  say('Making the databases, three tables of different shape')
  const site = await createSite(env, cluster, 'demo')
  await asSuperuser(site.sourceUrl, async (client) => {
    await client.query(`SET ROLE ${OWNER}`)
    await createShop(client, SCALE, (table, rows) =>
      say(`  ${table.schema}.${table.name}: ${rows.toLocaleString('en')} rows`),
    )
  })

  say(`Starting to write, ${RATE} changes a second: inserts, updates, deletes, changes of keys`)
  const load = await startWriteLoad(site.sourceUrl, RATE)
  try {
    await replicate(cluster, site, load)
    await copyAgain(cluster, site, load)
  } finally {
    await load.stop()
  }
  say(`Stopped writing after ${load.changes().toLocaleString('en')} changes`)

  const result = await compareAll(cluster, site)
  if (KEEP) printNextSteps(site)
  else await site.remove()
  console.log(`demo: tables=${SHOP_TABLES.length} rows=${result.rows} different=${result.different}`)
  return result.different === 0 ? 0 : 1
}

async function replicate(cluster: Cluster, site: Site, load: WriteLoad): Promise<void> {
  const manifest = pipelineManifest(site.namespace, PIPELINE, {
    ...site.spec,
    tables: SHOP_TABLES.map(({ schema, name }) => ({ schema, name })),
    backfill: { chunkRows: 50_000 },
  })
  await kubectlApply('pipeline', manifest)
  await follow(cluster, site, load, () => true, SHOP_TABLES.length)
  say('All tables are Streaming')
}

async function copyAgain(cluster: Cluster, site: Site, load: WriteLoad): Promise<void> {
  say('Copying orders once more: an ad-hoc TableBackfill that truncates')
  const manifest = backfillManifest(site.namespace, AGAIN, {
    pipelineRef: { name: PIPELINE },
    table: { name: 'orders' },
    destinationTable: 'Truncate',
  })
  await kubectlApply('table-backfill', manifest)
  await follow(cluster, site, load, (backfill) => backfill.metadata.name === AGAIN, 1)
  say('Streaming again')
}

/** Writes the manifest where a person can read it, and applies it as that person would. */
async function kubectlApply(name: string, manifest: Manifest): Promise<void> {
  await mkdir('out/demo', { recursive: true })
  const file = `out/demo/${name}.yaml`
  await writeFile(file, stringify(manifest))
  say(`kubectl apply -f ${file}`)
  const result = spawnSync(env.KUBECTL, ['apply', '-f', file], { stdio: ['ignore', 'inherit', 'inherit'] })
  if (result.status !== 0)
    throw new Error(`kubectl apply -f ${file} ended with ${result.status ?? result.error}`)
}

/** Shows the backfills until `count` of them stream; throws what went wrong when one fails or it takes too long. */
async function follow(
  cluster: Cluster,
  site: Site,
  load: WriteLoad,
  shown: (backfill: TableBackfill) => boolean,
  count: number,
): Promise<void> {
  const screen = createProgressScreen()
  const deadline = Date.now() + PATIENCE * 1000
  for (;;) {
    const backfills = (await cluster.backfills(site.namespace)).filter(shown)
    const lag = (await cluster.pipeline(site.namespace, PIPELINE))?.status?.lag ?? '-'
    screen.show(
      backfills.map(progressRow),
      `changes written: ${load.changes().toLocaleString('en')}   lag: ${lag}`,
    )
    const ended = backfills.find(({ status }) => status?.phase === 'Failed' || status?.phase === 'Cancelled')
    if (ended) throw new Error(`${ended.metadata.name}: ${ended.status?.phase}: ${ended.status?.message}`)
    if (backfills.filter(({ status }) => status?.phase === 'Streaming').length >= count) return screen.end()
    if (Date.now() > deadline) {
      throw new Error(
        `not Streaming after ${PATIENCE} s; look with: ${env.KUBECTL} -n ${site.namespace} get mrp,tbf,pods`,
      )
    }
    await sleep(500)
  }
}

async function compareAll(cluster: Cluster, site: Site): Promise<{ rows: number; different: number }> {
  say('Waiting until the queue is applied, then comparing row by row')
  await waitForEnd(cluster, site)
  let rows = 0
  let different = 0
  for (const table of SHOP_TABLES) {
    const result: Comparison = await compareWithDestination(env, site, {
      source: table,
      destination: table,
      key: table.key,
    })
    say(
      `  ${table.schema}.${table.name}: ${result.rows.toLocaleString('en')} rows, ${result.different} different`,
    )
    for (const example of result.examples) console.log(`         ${example}`)
    rows += result.rows
    different += result.different
  }
  return { rows, different }
}

/**
 * A last row that says that everything before it has arrived, table by table; then the truth is what the comparison finds.
 */
async function waitForEnd(cluster: Cluster, site: Site): Promise<void> {
  const marks = [
    {
      table: 'orders',
      insert: `INSERT INTO public.orders (customer, status, amount, note) VALUES (0, 'mark', 0, $1)`,
      column: 'note',
    },
    {
      table: 'documents',
      insert: 'INSERT INTO public.documents (title, body) VALUES ($1, $1)',
      column: 'title',
    },
    {
      table: 'events',
      insert: `INSERT INTO public.events (at, kind) VALUES ('2026-02-01', $1)`,
      column: 'kind',
    },
  ]
  const mark = `mark ${Date.now()}`
  await asSuperuser(site.sourceUrl, async (source) => {
    for (const { insert } of marks) await source.query(insert, [mark])
  })
  const deadline = Date.now() + PATIENCE * 1000
  await asSuperuser(site.destinationUrl, async (destination) => {
    for (const { table, column } of marks) {
      while (
        (await destination.query(`SELECT FROM public.${table} WHERE ${column} = $1`, [mark])).rowCount === 0
      ) {
        if (Date.now() > deadline) {
          const pipeline = await cluster.pipeline(site.namespace, PIPELINE)
          throw new Error(`public.${table} does not drain: ${JSON.stringify(pipeline?.status)}`)
        }
        await sleep(100)
      }
    }
  })
}

function printNextSteps(site: Site): void {
  console.log(`
Everything is still running. Try:
  export KUBECONFIG=${env.KUBECONFIG}
  ${env.KUBECTL} -n ${site.namespace} get pipelines,tablebackfills
  psql '${site.sourceUrl}' -c "UPDATE orders SET status = 'seen' WHERE id = 1"
  psql '${site.destinationUrl}' -c 'SELECT * FROM orders WHERE id = 1'
`)
}
