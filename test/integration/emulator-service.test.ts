import { afterAll, beforeAll, expect, it } from 'vitest'
import { compareWithWarehouse } from '../../hack/demo/compare-redshift.ts'
import { openWarehouseClient, type WarehouseClient } from '../../hack/demo/warehouse.ts'
import { freePort } from '../../hack/process/ports.ts'
import { query } from '../../hack/services/postgres.ts'
import { describeRedshiftEmulator, type RedshiftEmulatorHandle } from '../../hack/services/redshift.ts'
import { createDatabase, destUrl, tempDir } from './services.ts'

// The emulator as the local stack has it: a process of its own, over all databases of a server. And the comparison that the
// demo and the end-to-end tests judge by: it has to find what is wrong.

let service: RedshiftEmulatorHandle
let client: WarehouseClient
let sourceUrl = ''

const table = {
  source: { schema: 'public', name: 'Compared' },
  destination: { schema: 'public', name: 'Compared' },
  key: ['Id'],
}

beforeAll(async () => {
  const { url } = await createDatabase('compared_source')
  sourceUrl = url
  await createDatabase('compared_warehouse', 'destination')
  service = await describeRedshiftEmulator({
    dir: tempDir('redshift'),
    ports: { s3: await freePort(), dataApi: await freePort() },
    postgresUrl: destUrl(),
    lifetime: 'bound',
  })
  await service.start()
  client = openWarehouseClient({
    region: 'us-east-1',
    clusterIdentifier: 'emulator',
    database: 'compared_warehouse',
    endpoint: service.dataUrl,
    credentials: service,
  })
  await query(
    sourceUrl,
    `create table "Compared" ("Id" integer primary key, t text, n numeric, f double precision, b boolean, j jsonb, a integer[],
       at timestamptz, x bytea)`,
  )
  await query(
    sourceUrl,
    `insert into "Compared" select i, E'tab\\t ü' || i, i / 3.0, sqrt(i), i % 2 = 0, jsonb_build_object('z', i, 'a', null),
       array[i, null], timestamptz '2026-01-01 00:00:00.5+00' + i * interval '1 hour', decode('00ff', 'hex')
     from generate_series(1, 200) as i`,
  )
  await client.run(
    'create table public.compared (id integer, t varchar(100), n numeric(38,18), f double precision, b boolean, j super, a super, at timestamptz, x varbyte(10))',
  )
  const rows = await query<Record<string, string>>(
    sourceUrl,
    `select "Id"::text as id, t, round(n, 18)::text as n, f::text as f, b::text as b, j::text as j, to_jsonb(a)::text as a, at::text as at from "Compared"`,
  )
  const values = rows.map(
    (row) =>
      `(${row.id}, '${row.t}', ${row.n}, ${row.f}, ${row.b}, json_parse('${row.j}'), json_parse('${row.a}'), cast('${row.at}' as timestamptz), to_varbyte('00ff', 'hex'))`,
  )
  // SUPER's functions stand in SELECT only.
  const selects = values.map((value) => `select ${value.slice(1, -1)}`)
  await client.run(`insert into public.compared ${selects.join(' union all ')}`)
})

afterAll(async () => {
  client?.close()
  await service?.stop()
})

it.each([Number.POSITIVE_INFINITY, 4_000])(
  'finds equal what is equal, in slices of %d bytes',
  async (bytes) => {
    expect(await compareWithWarehouse(sourceUrl, client, table, bytes)).toEqual({
      rows: 200,
      different: 0,
      examples: [],
    })
  },
)

it('finds a row that is missing, one too many, one twice, and a value that differs', async () => {
  await client.run('delete from public.compared where id = 7')
  await client.run('insert into public.compared (id) values (900)')
  await client.run('insert into public.compared select * from public.compared where id = 8')
  await client.run(`update public.compared set t = t || ' ' where id = 9`)
  const { different, examples } = await compareWithWarehouse(sourceUrl, client, table)
  expect(different).toBe(4)
  expect(examples.map((text) => text.split(':')[0]).sort()).toEqual([
    'different in the destination',
    'only in the destination',
    'only in the source',
    'twice in the destination',
  ])
})

it('goes on after it was killed', async () => {
  await service.kill9()
  expect(service.pid()).toBeUndefined()
  await service.start()
  expect(service.pid()).toBeDefined()
  for await (const [field] of client.rows('select count(*) from public.compared'))
    expect(field?.longValue).toBe(201)
})
