import { describe, expect, it } from 'vitest'
import type { Pipeline } from '../../crds/pipeline.ts'
import { waitUntil } from '../../hack/demo/kube.ts'
import { secretManifest } from '../../hack/demo/manifests.ts'
import { asSuperuser } from '../../hack/demo/site.ts'
import { rejectionOf } from '../../lib/kube/rejection.ts'
import {
  applyBackfill,
  applyPipeline,
  onSource,
  PIPELINE,
  useStage,
  waitForArrival,
  waitForStreaming,
} from './support.ts'

const stage = useStage('inputs')
/** A person who gets something wrong is told within this time, seconds. */
const SOON = 30
/** A changed Secret reaches a pod when the kubelet gets to it. */
const SECRET_DELAY = 150

async function status(): Promise<Pipeline['status']> {
  return (await stage().cluster.pipeline(stage().site.namespace, PIPELINE))?.status
}

/** All that a person can read about a Pipeline. */
async function told(): Promise<string> {
  const { conditions, tables } = (await status()) ?? {}
  return [
    ...(conditions ?? [])
      .filter((c) => c.status === 'False')
      .map((c) => `${c.type} ${c.reason}: ${c.message}`),
    ...(tables ?? []).map((t) => `${t.schema}.${t.name} ${t.state}: ${t.message ?? ''}`),
  ].join('\n')
}

async function expectTold(...patterns: readonly RegExp[]): Promise<void> {
  await waitUntil(
    `a message like ${patterns.join(' and ')}`,
    SOON,
    async () => {
      const text = await told()
      return patterns.every((pattern) => pattern.test(text))
    },
    told,
  )
}

async function complaint(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt
    return ''
  } catch (error) {
    return rejectionOf(error)?.message ?? String(error)
  }
}

describe('wrong input', { timeout: 400_000 }, () => {
  it('is refused by the API server where it can know', async () => {
    const postgres = {
      host: 'h',
      database: 'd',
      credentialsSecretRef: { name: 'destination' },
      ...stage().site.spec.destination.postgres,
    }
    const redshift = { region: 'eu-central-1', workgroupName: 'w', database: 'd', s3: { bucket: 'bucket' } }
    expect(
      await complaint(applyPipeline(stage(), { tables: [], destination: { postgres, redshift } as never })),
    ).toMatch(/exactly one of/)
    expect(await complaint(applyPipeline(stage(), { tables: [{ name: 'a' }, { name: 'a' }] }))).toMatch(
      /spec\.tables: duplicate entries for key \[name="a",schema="public"\]/,
    )
  })

  it('names the Secret that is missing, and recovers', async () => {
    await onSource(stage(), 'CREATE TABLE good (id integer PRIMARY KEY, v text)')
    const { cluster, site } = stage()
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'source', namespace: site.namespace },
    }
    await cluster.remove(secret)
    await applyPipeline(stage(), { tables: [{ name: 'good' }] })
    await expectTold(/SecretMissing/, /credentialsSecretRef/)
    const role = `millrace_${site.namespace.replace('site-', '').replaceAll('-', '_')}`
    await cluster.apply(secretManifest(site.namespace, 'source', role, site.password))
    await waitForStreaming(stage(), ['good'], SECRET_DELAY)
  })

  it('names an unknown table, the others go on, and it recovers', async () => {
    await applyPipeline(stage(), { tables: [{ name: 'good' }, { name: 'late' }] })
    await expectTold(/spec\.tables\[1\]|spec\.tables/, /no table .*late/)
    await waitForArrival(stage(), 'INSERT INTO good VALUES (1, $1)', 'SELECT 1 FROM good WHERE v = $1')
    await onSource(stage(), 'CREATE TABLE late (id integer PRIMARY KEY)', 'INSERT INTO late VALUES (1)')
    await waitForStreaming(stage(), ['good', 'late'])
  })

  it('names a table without a replica identity and the SQL that cures it', async () => {
    await onSource(stage(), 'CREATE TABLE keyless (id integer)')
    await applyPipeline(stage(), { tables: [{ name: 'good' }, { name: 'late' }, { name: 'keyless' }] })
    await expectTold(/NoReplicaIdentity|replica identity/i, /ALTER TABLE|primary key/)
    await onSource(stage(), 'ALTER TABLE keyless ADD PRIMARY KEY (id)')
    await waitForStreaming(stage(), ['keyless'])
  })

  it('names a wrong password, and recovers', async () => {
    const { cluster, site } = stage()
    const role = `millrace_${site.namespace.replace('site-', '').replaceAll('-', '_')}`
    await asSuperuser(site.sourceUrl, async (client) => {
      await client.query(`ALTER ROLE ${role} PASSWORD 'changed behind our back'`)
      await client.query(
        'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND datname = current_database()',
        [role],
      )
    })
    await expectTold(/AuthenticationFailed/, /credentialsSecretRef/)
    expect(await told()).not.toContain(site.password)
    await cluster.apply(secretManifest(site.namespace, 'source', role, 'changed behind our back'))
    await waitUntil('SourceReady', SECRET_DELAY, async () =>
      (await status())?.conditions?.some((c) => c.type === 'SourceReady' && c.status === 'True'),
    )
    await waitForArrival(stage(), 'INSERT INTO good VALUES (2, $1)', 'SELECT 1 FROM good WHERE v = $1')
  })

  it('names an unreachable host, and recovers', async () => {
    const { source } = stage().site.spec
    const tables = [{ name: 'good' }]
    await applyPipeline(stage(), { tables, source: { postgres: { ...source.postgres, port: 1 } } })
    await expectTold(/HostUnreachable/, /spec\.source\.postgres/)
    await applyPipeline(stage(), { tables })
    await waitForArrival(stage(), 'INSERT INTO good VALUES (3, $1)', 'SELECT 1 FROM good WHERE v = $1')
  })

  it('says so when a TableBackfill names no Pipeline, or a table that is not in it', async () => {
    const { cluster, site } = stage()
    const message = async (name: string) =>
      (await cluster.backfill(site.namespace, name))?.status?.message ?? ''
    await applyBackfill(stage(), 'nobody', 'good', { pipelineRef: { name: 'not-there' } })
    await waitUntil(
      'a message',
      SOON,
      async () => /not-there/.test(await message('nobody')),
      () => message('nobody'),
    )
    await applyBackfill(stage(), 'stranger', 'unheard_of')
    await waitUntil(
      'a message',
      SOON,
      async () => /unheard_of/.test(await message('stranger')),
      () => message('stranger'),
    )
  })
})
