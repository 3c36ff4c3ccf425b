import { expect, it } from 'vitest'
import { applyPipeline, onSource, useStage, waitForStreaming } from './support.ts'

const stage = useStage('order')
const NAMES = Array.from({ length: 12 }, (_, i) => `t${String(12 - i).padStart(2, '0')}`)
const LIMIT = 3
const SETTLED = 3_000

interface Job {
  metadata: { ownerReferences?: { name: string }[] }
}

it('backfills twelve tables in the listed order, three at a time, and shows positions', {
  timeout: 600_000,
}, async () => {
  const { cluster, site } = stage()
  await onSource(
    stage(),
    ...NAMES.map(
      (name) =>
        `CREATE TABLE ${name} AS SELECT i AS id, md5(i::text) AS v FROM generate_series(1, 20000) AS i`,
    ),
    ...NAMES.map((name) => `ALTER TABLE ${name} ADD PRIMARY KEY (id)`),
  )
  await applyPipeline(stage(), {
    tables: NAMES.map((name) => ({ name })),
    backfill: { maxConcurrentTables: LIMIT, chunkRows: 4000, parallelism: 1 },
  })

  const tableOf = new Map<string, string>()
  const began: string[] = []
  const seen = new Set<string>()
  // A line as it stands when nothing in it moves: the places of all cannot change at one moment.
  const settled = new Set<string>()
  let last = { line: '', since: 0 }
  let most = 0
  let streaming = false
  const done = waitForStreaming(stage(), NAMES, 540).finally(() => {
    streaming = true
  })
  while (!streaming) {
    // Jobs are made one after the other, so each list holds a beginning of the order. Statuses are written side by side.
    const jobs = await cluster.list<Job>(`/apis/batch/v1/namespaces/${site.namespace}/jobs`)
    const backfills = await cluster.backfills(site.namespace)
    const active = backfills.filter(({ status }) =>
      ['Preparing', 'Backfilling'].includes(status?.phase ?? ''),
    )
    most = Math.max(most, active.length)
    for (const { metadata, spec } of backfills) tableOf.set(metadata.name, spec.table.name)
    const begun = jobs
      .map(({ metadata }) => tableOf.get(metadata.ownerReferences?.[0]?.name ?? '') ?? '')
      .filter((name) => name !== '' && !began.includes(name))
    began.push(...begun.sort((a, b) => NAMES.indexOf(a) - NAMES.indexOf(b)))
    const waiting = backfills
      .filter(({ status }) => status?.phase === 'Queued' && status.queuePosition !== undefined)
      .sort((a, b) => NAMES.indexOf(a.spec.table.name) - NAMES.indexOf(b.spec.table.name))
    const line = waiting.map(({ spec, status }) => `${status?.queuePosition}:${spec.table.name}`).join(' ')
    if (line !== '') seen.add(line)
    if (line !== last.line) last = { line, since: Date.now() }
    else if (line !== '' && Date.now() - last.since > SETTLED) settled.add(line)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  await done

  expect(most).toBeLessThanOrEqual(LIMIT)
  expect(most).toBeGreaterThan(1)
  expect(began).toEqual(NAMES)
  const inPlace = [...seen].filter((line) => line === lineOf(line.split(' ').length))
  expect(inPlace.length).toBeGreaterThan(2)
  for (const line of settled) expect(line).toBe(lineOf(line.split(' ').length))
})

/** So many tables that wait, as they should say where they stand. */
function lineOf(waiting: number): string {
  return NAMES.slice(NAMES.length - waiting)
    .map((name, at) => `${at + 1}:${name}`)
    .join(' ')
}
