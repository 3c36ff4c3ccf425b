import { execFileSync } from 'node:child_process'
import { cp, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Pipeline, PipelineManifestSpec } from '../../crds/pipeline.ts'
import { waitUntil } from '../../hack/demo/kube.ts'
import { backfillManifest, pipelineManifest } from '../../hack/demo/manifests.ts'
import { asSuperuser, type Site } from '../../hack/demo/site.ts'
import { startReplica } from '../../hack/services/postgres.ts'
import { tableTopic } from '../../workers/queue/topics.ts'
import { replicaSettings, startWorld, type World } from '../cluster/world.ts'
import { tempDir } from './services.ts'

// Whatever takes changes away, or may have, is named by a condition and an event within a minute, and mended as spec.onGap
// says, for just the tables that it concerns. All parts are real. A table has one case, and all strike at once, because
// the operator waits for a while before it mends the same table again.

const NAME = 'shop'
const ROWS = 200
/** Seconds within which it must be named. */
const NAMED = 60
const MENDED = 150

interface Scene {
  readonly site: Site
  readonly source: (sql: string) => Promise<unknown>
  readonly destination: (sql: string) => Promise<unknown>
  /** When it was struck, milliseconds since 1970. */
  struck: number
}

interface Case {
  readonly name: string
  readonly code: string
  readonly strike: (scene: Scene, table: string) => Promise<unknown>
  /** What a person has to do before anything can be mended. */
  readonly undo?: (scene: Scene, table: string) => Promise<unknown>
}

/** Each concerns one table. */
const OF_A_TABLE: Readonly<Record<string, Case>> = {
  away: {
    name: 'taken out of the publication by hand',
    code: 'PublicationChanged',
    strike: (scene, table) =>
      altered(scene, `DROP TABLE ONLY ${table}`, `DELETE FROM ${table} WHERE id < 10`),
  },
  returned: {
    name: 'taken out of the publication by hand and put back at once',
    code: 'PublicationChanged',
    strike: async (scene, table) => {
      await altered(scene, `DROP TABLE ONLY ${table}`, `DELETE FROM ${table} WHERE id < 10`)
      await altered(scene, `ADD TABLE ONLY ${table}`, '')
    },
  },
  renamed: {
    name: 'renamed',
    code: 'TableNotFound',
    strike: (scene, table) => scene.source(`ALTER TABLE ${table} RENAME TO ${table}_elsewhere`),
    undo: (scene, table) =>
      scene.source(
        `DELETE FROM ${table}_elsewhere WHERE id < 10; ALTER TABLE ${table}_elsewhere RENAME TO ${table}`,
      ),
  },
  dropped: {
    name: 'dropped',
    code: 'TableNotFound',
    strike: (scene, table) => scene.source(`DROP TABLE ${table}`),
    undo: (scene, table) => scene.source(makeTable(table)),
  },
  replaced: {
    name: 'dropped and made again at once',
    code: 'TableChanged',
    strike: (scene, table) => scene.source(`DROP TABLE ${table}; ${makeTable(table)}`),
  },
  unidentified: {
    name: 'given REPLICA IDENTITY NOTHING',
    code: 'NoReplicaIdentity',
    strike: (scene, table) => scene.source(`ALTER TABLE ${table} REPLICA IDENTITY NOTHING`),
    undo: (scene, table) => scene.source(`ALTER TABLE ${table} REPLICA IDENTITY DEFAULT`),
  },
  rekeyed: {
    name: 'given another replica identity',
    code: 'TableChanged',
    strike: (scene, table) =>
      scene.source(`ALTER TABLE ${table} REPLICA IDENTITY USING INDEX ${table}_other`),
  },
  forgotten: {
    name: 'deleted from the ledger',
    code: 'LedgerChanged',
    strike: (scene, table) =>
      scene.destination(`DELETE FROM millrace.tables WHERE source_table = '${table}'`),
  },
  moved: {
    name: 'moved on in the ledger',
    code: 'LedgerChanged',
    strike: (scene, table) =>
      scene.destination(
        `UPDATE millrace.tables SET next_offset = next_offset + 100, lsn = 'F/0' WHERE source_table = '${table}'`,
      ),
  },
  lost: {
    name: 'dropped in the destination',
    code: 'DestinationChanged',
    strike: (scene, table) => scene.destination(`DROP TABLE ${table}`),
  },
  emptied: {
    name: 'emptied in the destination',
    code: 'DestinationChanged',
    strike: (scene, table) => scene.destination(`TRUNCATE ${table}`),
  },
  narrowed: {
    name: 'robbed of a column in the destination',
    code: 'DestinationChanged',
    strike: (scene, table) => scene.destination(`ALTER TABLE ${table} DROP COLUMN note`),
  },
  unqueued: {
    name: 'robbed of its topic',
    code: 'QueueLost',
    strike: async ({ site }, table) => {
      const topic = tableTopic(`${site.namespace}.${NAME}`, { schema: 'public', name: table })
      await admin.deleteTopics({ topics: [topic] })
    },
  },
}

/** Each concerns all tables of a Pipeline. */
const OF_A_PIPELINE: Readonly<Record<string, Case>> = {
  options: {
    name: 'its publication publishes only inserts',
    code: 'PublicationChanged',
    strike: (scene) => altered(scene, `SET (publish = 'insert')`, 'DELETE FROM one WHERE id < 10'),
  },
  filters: {
    name: 'its publication gets row filters',
    code: 'PublicationChanged',
    strike: (scene) =>
      altered(
        scene,
        'SET TABLE ONLY one WHERE (id > 50), ONLY two WHERE (id > 50)',
        'DELETE FROM one WHERE id < 10',
      ),
  },
  unpublished: {
    name: 'its publication is dropped',
    code: 'PublicationChanged',
    strike: async (scene) =>
      scene.source(`DROP PUBLICATION "${await publication(scene)}"; DELETE FROM one WHERE id < 10`),
  },
  unslotted: {
    name: 'its slot is dropped',
    code: 'SlotLost',
    strike: (scene) =>
      scene.source(`
        DO $$ BEGIN
          LOOP
            BEGIN
              PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots
                WHERE database = current_database() AND active;
              PERFORM pg_drop_replication_slot(slot_name) FROM pg_replication_slots
                WHERE database = current_database();
              EXIT;
            EXCEPTION WHEN object_in_use THEN PERFORM pg_sleep(0.02);
            END;
          END LOOP;
        END $$;
        DELETE FROM one WHERE id < 10`),
  },
}

async function publication({ site }: Scene): Promise<string> {
  return await asSuperuser(site.sourceUrl, async (client) => {
    const { rows } = await client.query<{ pubname: string }>('SELECT pubname FROM pg_publication')
    return rows[0]?.pubname ?? ''
  })
}

/** Alters the publication, and writes what it then does not publish. */
async function altered(scene: Scene, how: string, then: string): Promise<void> {
  await scene.source(`ALTER PUBLICATION "${await publication(scene)}" ${how}`)
  if (then) await scene.source(then)
}

function makeTable(name: string): string {
  return `
    CREATE TABLE ${name} (id int PRIMARY KEY, note text, other int NOT NULL);
    CREATE UNIQUE INDEX ${name}_other ON ${name} (other);
    ALTER TABLE ${name} OWNER TO owner;
    INSERT INTO ${name} SELECT g, 'made', g FROM generate_series(1, ${ROWS}) g`
}

let world: World
let dir: string
let admin: Admin

async function open(
  name: string,
  tables: readonly string[],
  onGap: 'Backfill' | 'Halt',
  replicas?: [],
): Promise<Scene> {
  const site = await world.createSite(name)
  const source = (sql: string) => asSuperuser(site.sourceUrl, (client) => client.query(sql))
  const destination = (sql: string) => asSuperuser(site.destinationUrl, (client) => client.query(sql))
  for (const table of tables) await source(makeTable(table))
  const spec: PipelineManifestSpec = {
    ...site.spec,
    ...(replicas && { source: { postgres: { ...site.spec.source.postgres, replicas } } }),
    onGap,
    backfill: { maxConcurrentTables: 4, parallelism: 1 },
    tables: tables.map((table) => ({ name: table })),
  }
  await world.local.cluster.apply(pipelineManifest(site.namespace, NAME, spec))
  return { site, source, destination, struck: 0 }
}

const pipeline = ({ site }: Scene) => world.local.cluster.pipeline(site.namespace, NAME)
const describeTables = (one: Pipeline | undefined) =>
  JSON.stringify([
    one?.status?.tables,
    one?.status?.conditions?.map((c) => `${c.type}=${c.status} ${c.reason}`),
  ])

async function untilStreaming(scene: Scene, tables: readonly string[]): Promise<void> {
  await waitUntil(
    `streaming of ${tables.join(', ')}`,
    MENDED,
    async () => {
      const status = (await pipeline(scene))?.status
      return tables.every((name) => {
        const table = status?.tables?.find((one) => one.name === name)
        return table?.state === 'Streaming' && table.historyComplete === true && table.code === undefined
      })
    },
    async () => describeTables(await pipeline(scene)),
  )
}

async function untilEqual(scene: Scene, table: string): Promise<void> {
  const rows = async (url: string) =>
    await asSuperuser(url, async (client) => {
      const { rows } = await client.query<{ digest: string }>(
        `SELECT count(*) || ' ' || coalesce(md5(string_agg(concat_ws(',', id, note, other), ';' ORDER BY id)), '') AS digest FROM ${table}`,
      )
      return rows[0]?.digest
    }).catch((error) => String(error))
  await waitUntil(
    `equal rows of ${table}`,
    MENDED,
    async () => (await rows(scene.site.sourceUrl)) === (await rows(scene.site.destinationUrl)),
    async () => `${await rows(scene.site.sourceUrl)}, ${await rows(scene.site.destinationUrl)}`,
  )
}

interface Event {
  readonly reason: string
  readonly type: string
  readonly note: string
  readonly regarding: { readonly kind: string }
  readonly eventTime: string
}

/** A Warning about the table with this reason. */
async function untilNamed(scene: Scene, table: string, code: string): Promise<void> {
  const left = Math.max(1, NAMED - (Date.now() - scene.struck) / 1000)
  const events = async () =>
    (
      await world.local.cluster.list<Event>(
        `/apis/events.k8s.io/v1/namespaces/${scene.site.namespace}/events`,
      )
    ).filter(({ note }) => note.startsWith(`table public.${table}:`))
  await waitUntil(
    `${code} of ${table}`,
    left,
    async () => (await events()).some(({ reason, type }) => type === 'Warning' && reason === code),
    async () =>
      `${(await events()).map(({ reason, note }) => `${reason} ${note}`)} ${describeTables(await pipeline(scene))}`,
  )
}

/** Condition changes are short where they are mended at once, so they are all remembered. */
function watchConditions(scene: Scene): { readonly seen: Set<string>; stop(): void } {
  const seen = new Set<string>()
  const timer = setInterval(async () => {
    const status = (await pipeline(scene).catch(() => undefined))?.status
    for (const { type, status: is, reason, message } of status?.conditions ?? []) {
      if (is !== 'False') continue
      seen.add(`${type} ${reason}`)
      for (const table of status?.tables ?? []) {
        if (message.includes(`public.${table.name}`)) seen.add(`${type} ${table.name}`)
        if (table.code && message.includes(`public.${table.name}`)) seen.add(`${table.name} ${table.code}`)
      }
    }
  }, 200)
  return { seen, stop: () => clearInterval(timer) }
}

/** It has log that a restored primary never wrote, so it can follow it no more. */
async function remakeReplica(): Promise<void> {
  const { replica, primary } = world
  await replica.stop('immediate')
  await rm(replica.dataDir, { recursive: true })
  await startReplica(primary, { dir: join(dir, 'replica'), port: replica.port, settings: replicaSettings })
}

beforeAll(async () => {
  dir = tempDir('gaps')
  world = await startWorld(dir)
  admin = new Kafka({ brokers: world.env.KAFKA_BROKERS.split(','), logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
})

afterAll(async () => {
  await admin?.disconnect()
  await world?.stop()
})

describe('a table that is', () => {
  const tables = Object.keys(OF_A_TABLE)
  let scene: Scene
  let conditions: ReturnType<typeof watchConditions>

  beforeAll(async () => {
    scene = await open('tables', [...tables, 'untouched'], 'Backfill')
    await untilStreaming(scene, [...tables, 'untouched'])
    // Whatever is compared with what was there before has been looked at once.
    await new Promise((resolve) => setTimeout(resolve, 45_000))
    conditions = watchConditions(scene)
    scene.struck = Date.now()
    for (const [table, { strike }] of Object.entries(OF_A_TABLE)) await strike(scene, table)
  }, 400_000)
  afterAll(() => conditions?.stop())

  it.each(Object.entries(OF_A_TABLE))('%s is named', async (table, { code }) => {
    await untilNamed(scene, table, code)
    await waitUntil(
      `a condition about ${table}`,
      NAMED,
      async () => conditions.seen.has(`GapFree ${table}`) || conditions.seen.has(`Ready ${table}`),
      () => [...conditions.seen].join(', '),
    )
  })

  it.each(Object.entries(OF_A_TABLE))(
    '%s is mended',
    async (table, { undo }) => {
      await undo?.(scene, table)
      await untilStreaming(scene, [table])
      await scene.source(`INSERT INTO ${table} VALUES (9999, 'after', 9999)`)
      await untilEqual(scene, table)
    },
    300_000,
  )

  it('something else leaves the others alone', async () => {
    const all = await world.local.cluster.backfills(scene.site.namespace)
    expect(all.filter(({ spec }) => spec.table.name === 'untouched')).toHaveLength(1)
  })
})

describe('a Pipeline of which', () => {
  const scenes = new Map<string, { scene: Scene; conditions: ReturnType<typeof watchConditions> }>()

  beforeAll(async () => {
    for (const name of Object.keys(OF_A_PIPELINE)) {
      const scene = await open(name, ['one', 'two'], 'Backfill')
      scenes.set(name, { scene, conditions: watchConditions(scene) })
    }
    for (const { scene } of scenes.values()) await untilStreaming(scene, ['one', 'two'])
    // The publication's memberships have been seen once.
    await new Promise((resolve) => setTimeout(resolve, 16_000))
    for (const [name, { strike }] of Object.entries(OF_A_PIPELINE)) {
      const { scene } = scenes.get(name) as { scene: Scene }
      scene.struck = Date.now()
      await strike(scene, 'one')
    }
  }, 400_000)
  afterAll(() => {
    for (const { conditions } of scenes.values()) conditions.stop()
  })

  it.each(Object.entries(OF_A_PIPELINE))(
    '%s are altered is named and mended',
    async (name, { code }) => {
      const { scene, conditions } = scenes.get(name) as {
        scene: Scene
        conditions: ReturnType<typeof watchConditions>
      }
      for (const table of ['one', 'two']) await untilNamed(scene, table, code)
      await waitUntil(`condition ${code}`, 10, async () => conditions.seen.has(`GapFree ${code}`))
      await untilStreaming(scene, ['one', 'two'])
      for (const table of ['one', 'two']) await untilEqual(scene, table)
    },
    300_000,
  )
})

describe('with onGap Halt', () => {
  it('nothing is emptied before a person says so, and other tables go on', async () => {
    const scene = await open('halt', ['one', 'two'], 'Halt')
    await untilStreaming(scene, ['one', 'two'])
    await new Promise((resolve) => setTimeout(resolve, 16_000))
    scene.struck = Date.now()
    await altered(scene, 'DROP TABLE ONLY one', 'DELETE FROM one WHERE id < 10')
    await untilNamed(scene, 'one', 'PublicationChanged')
    const condition = (await pipeline(scene))?.status?.conditions?.find(({ type }) => type === 'GapFree')
    expect(condition).toMatchObject({ status: 'False', reason: 'PublicationChanged' })
    expect(condition?.message).toMatch(/spec\.onGap is Halt: create a TableBackfill/)
    await scene.source(`INSERT INTO two VALUES (9999, 'after', 9999)`)
    await untilEqual(scene, 'two')
    expect(await world.local.cluster.backfills(scene.site.namespace)).toHaveLength(2)
    await world.local.cluster.apply(
      backfillManifest(scene.site.namespace, 'cure', {
        pipelineRef: { name: NAME },
        table: { name: 'one' },
        destinationTable: 'Truncate',
        verify: 'AfterBackfill',
      }),
    )
    await untilStreaming(scene, ['one', 'two'])
    await waitUntil(
      'the verification',
      MENDED,
      async () => {
        const found = await world.local.cluster.backfill(scene.site.namespace, 'cure-verify')
        const succeeded = found?.status?.conditions?.find(({ type }) => type === 'Succeeded')
        return found?.status?.phase === 'Verified' && succeeded?.reason === 'Equal'
      },
      async () =>
        JSON.stringify(
          (await world.local.cluster.backfill(scene.site.namespace, 'cure-verify'))?.status ?? 'none',
        ),
    )
    await untilEqual(scene, 'one')
  }, 300_000)
})

describe('a Pipeline that is paused', () => {
  it('names a lost slot although nothing is applied, and mends it when it runs again', async () => {
    const scene = await open('paused', ['one'], 'Backfill')
    await untilStreaming(scene, ['one'])
    const resource = `/apis/millrace.dev/v1alpha1/namespaces/${scene.site.namespace}/pipelines/${NAME}`
    const gapFree = async () =>
      (await pipeline(scene))?.status?.conditions?.find(({ type }) => type === 'GapFree')
    await world.local.cluster.patch(resource, { spec: { state: 'Paused' } })
    await waitUntil('Paused', MENDED, async () => {
      return (await pipeline(scene))?.status?.tables?.[0]?.state === 'Paused'
    })
    scene.struck = Date.now()
    await OF_A_PIPELINE.unslotted?.strike(scene, 'one')
    await untilNamed(scene, 'one', 'SlotLost')
    expect(await gapFree()).toMatchObject({ status: 'False', reason: 'SlotLost' })
    expect((await pipeline(scene))?.status?.apply?.tables?.[0]?.gap).toBeUndefined()
    await world.local.cluster.patch(resource, { spec: { state: 'Running' } })
    await waitUntil('GapFree', MENDED, async () => (await gapFree())?.status === 'True')
    await untilEqual(scene, 'one')
  }, 400_000)
})

describe('a source that is', () => {
  it('restored from a backup, with its log behind what the queue has, is named and mended', async () => {
    const scene = await open('restored', ['one', 'two'], 'Backfill')
    const conditions = watchConditions(scene)
    try {
      await untilStreaming(scene, ['one', 'two'])
      const data = join(dir, 'primary', 'data')
      const backup = join(dir, 'backup')
      await world.primary.stop('fast')
      await cp(data, backup, { recursive: true, preserveTimestamps: true })
      await world.primary.start()
      await scene.source(`INSERT INTO one SELECT g, 'unsaved', g FROM generate_series(20000, 60000) g`)
      await untilEqual(scene, 'one')
      await world.primary.stop('immediate')
      await rm(data, { recursive: true })
      await rename(backup, data)
      execFileSync('chown', ['-R', '--reference', join(dir, 'primary'), data])
      scene.struck = Date.now()
      await world.primary.start()
      for (const table of ['one', 'two']) await untilNamed(scene, table, 'SourceChanged')
      await waitUntil('the condition', 10, async () => conditions.seen.has('GapFree SourceChanged'))
      // A replica of what the primary was before has everything up to any hold, and all rows that are no more.
      const mending = async () => {
        const backfills = await world.local.cluster.backfills(scene.site.namespace)
        return backfills.filter(({ metadata }) => metadata.name.includes('-gap-'))
      }
      await waitUntil(
        'a backfill that refuses the replica',
        60,
        async () => (await mending()).some(({ status }) => status?.copy?.code === 'ReplicaMismatch'),
        async () => JSON.stringify((await mending()).map(({ status }) => status?.copy)),
      )
      await remakeReplica()
      await untilStreaming(scene, ['one', 'two'])
      await untilEqual(scene, 'one')
    } finally {
      conditions.stop()
    }
  }, 400_000)

  it('failed over to a replica is named and mended', async () => {
    const scene = await open('promoted', ['one', 'two'], 'Backfill', [])
    const conditions = watchConditions(scene)
    await untilStreaming(scene, ['one', 'two'])
    // By another name: a slot of the primary, which is called after it, serves one replica.
    const standby = await startReplica(world.primary, {
      dir: tempDir('promoted'),
      name: 'promoted',
      settings: replicaSettings,
    })
    try {
      await asSuperuser(standby.url, (client) => client.query('SELECT pg_promote()'))
      scene.struck = Date.now()
      const postgres = { ...scene.site.spec.source.postgres, port: standby.port, replicas: [] }
      await world.local.cluster.patch(
        `/apis/millrace.dev/v1alpha1/namespaces/${scene.site.namespace}/pipelines/${NAME}`,
        { spec: { source: { postgres } } },
      )
      for (const table of ['one', 'two']) await untilNamed(scene, table, 'SourceChanged')
      await waitUntil('the condition', 10, async () => conditions.seen.has('GapFree SourceChanged'))
      await untilStreaming(scene, ['one', 'two'])
    } finally {
      conditions.stop()
      await standby.stop('immediate')
    }
  }, 400_000)
})
