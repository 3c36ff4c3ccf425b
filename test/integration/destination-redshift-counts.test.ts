import { createServer, request as forward, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import type { Batch, Destination } from '../../workers/destination/destination.ts'
import type { LedgerTable } from '../../workers/destination/ledger.ts'
import type { TableDefinition } from '../../workers/source/table.ts'
import { batch, chunkOf, claim, define, nameOf, never, prepare } from './destination-postgres-fixture.ts'
import { openTestWarehouse, type TestWarehouse, useS3 } from './destination-redshift-fixture.ts'
import { s3Server } from './emulator-setup.ts'

// What a flush and a chunk cost in requests, counted where they arrive: at the emulator, and in front of S3.

useS3()
let warehouse: TestWarehouse
let destination: Destination
let proxy: Server
let stored: string[] = []
let before: Readonly<Record<string, number>>

/** Passes requests on to S3 as they are, and notes them. */
async function startProxy(): Promise<Server> {
  const { port } = new URL(s3Server().endpoint)
  const server = createServer((incoming, outgoing) => {
    stored.push(`${incoming.method} ${(incoming.url ?? '').replace(/^.*\/([^/?]*)(\?.*)?$/, '$1')}`)
    const { method, url, headers } = incoming
    const passed = forward({ host: '127.0.0.1', port, method, path: url, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(outgoing)
    })
    passed.once('error', () => outgoing.destroy())
    incoming.pipe(passed)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

beforeAll(async () => {
  warehouse = await openTestWarehouse('redshift_counts')
  proxy = await startProxy()
  destination = warehouse.open('pipeline-1', {
    spec: {
      endpoints: {
        redshiftData: warehouse.emulator.url,
        s3: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
      },
    },
  })
  await destination.check(never)
})
afterAll(async () => {
  await destination?.close()
  proxy?.close()
  proxy?.closeAllConnections()
  await warehouse?.close()
})

let made = 0
async function warm(): Promise<{ definition: TableDefinition; ledger: LedgerTable }> {
  const definition = define(`counted_${++made}`, ['id integer', 'v text'], ['id'])
  await destination.ensureTable(nameOf(definition), definition, { deletes: 'Hard' }, never)
  const ledger = await flush(await claim(destination, definition), definition, { upserts: [['0', 'warm']] })
  return { definition, ledger }
}

async function flush(
  row: LedgerTable,
  definition: TableDefinition,
  changes: Partial<Batch>,
): Promise<LedgerTable> {
  const result = await destination.flush(batch(row, definition, changes), never)
  if (result.kind !== 'applied') throw new Error('missing')
  return result.ledger
}

function begin(): void {
  stored = []
  before = warehouse.emulator.requests()
}

/** Requests of the Data API since `begin`, by operation. */
function sent(): Record<string, number> {
  const now = warehouse.emulator.requests()
  return Object.fromEntries(
    Object.entries(now)
      .map(([operation, count]) => [operation, count - (before[operation] ?? 0)] as const)
      .filter(([, count]) => count > 0),
  )
}

const puts = () => stored.filter((each) => each.startsWith('PUT'))
const rows = (count: number, text: string) =>
  Array.from({ length: count }, (_, n) => [String(n), `${text} ${n}`])

beforeEach(() => warehouse.emulator.faults.set([]))

it('a small flush is one batch and no object', async () => {
  const { definition, ledger } = await warm()
  begin()
  await flush(ledger, definition, { upserts: rows(20, 'small'), deletes: [['77']] })
  const { BatchExecuteStatement, DescribeStatement = 0, ...others } = sent()
  expect([BatchExecuteStatement, others, stored]).toEqual([1, {}, []])
  expect(DescribeStatement).toBeLessThanOrEqual(1)
})

it('a large flush is one object with its manifest, and one batch', async () => {
  const { definition, ledger } = await warm()
  begin()
  await flush(ledger, definition, { upserts: rows(20_000, 'large'), deletes: [['99999']] })
  const { BatchExecuteStatement, DescribeStatement = 0, ...others } = sent()
  expect([BatchExecuteStatement, others]).toEqual([1, {}])
  expect(DescribeStatement).toBeLessThanOrEqual(1)
  expect(puts()).toEqual([expect.stringMatching(/\.csv\.zst$/), expect.stringMatching(/\.manifest$/)])
})

it('a slow flush is waited for by long polls', async () => {
  const { definition, ledger } = await warm()
  begin()
  warehouse.emulator.faults.set([{ kind: 'slow', ms: 4_000, sql: '^delete', times: 1 }])
  await flush(ledger, definition, { upserts: rows(20, 'slow') })
  const { BatchExecuteStatement, DescribeStatement = 0, ...others } = sent()
  expect([BatchExecuteStatement, others]).toEqual([1, {}])
  expect(DescribeStatement).toBeLessThanOrEqual(2)
})

it('a flush with unchanged columns is one batch, too', async () => {
  const { definition, ledger } = await warm()
  begin()
  await flush(ledger, definition, { upserts: [['0', undefined]] })
  const { BatchExecuteStatement, DescribeStatement: _, ...others } = sent()
  expect([BatchExecuteStatement, others, stored]).toEqual([1, {}, []])
})

it('chunks that end while one is loaded are loaded together', async () => {
  const definition = define('counted_chunks', ['id integer', 'v text'], ['id'])
  const { fence } = await prepare(destination, definition, { uid: 'counted', action: 'Truncate', chunks: 12 })
  begin()
  await Promise.all(
    Array.from({ length: 12 }, (_, chunk) =>
      destination.writeChunk(
        chunkOf(fence, definition, [`${chunk},v`], { chunk, range: { kind: 'key' } }),
        never,
      ),
    ),
  )
  expect(puts().filter((each) => each.endsWith('.csv.zst'))).toHaveLength(12)
  expect(sent().BatchExecuteStatement).toBeLessThan(6)
})

it('chunks that are loaded together have as many files as fill the two slices', async () => {
  const definition = define('counted_slices', ['id integer', 'v text'], ['id'])
  const { fence } = await prepare(destination, definition, { uid: 'slices', action: 'Truncate', chunks: 13 })
  const write = (chunk: number) =>
    destination.writeChunk(
      chunkOf(fence, definition, [`${chunk},v`], { chunk, range: { kind: 'key' } }),
      never,
    )
  // With the first the number of slices is learned.
  await write(0)
  await Promise.all(Array.from({ length: 12 }, (_, chunk) => write(chunk + 1)))
  const loads = await warehouse.rows(
    `select source_file_count from sys_load_history where table_name = 'counted_slices' order by query_id`,
  )
  const counts = loads.map(([files]) => Number(files))
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(13)
  // One alone did not come to a full round; any number else had to.
  expect(counts.filter((count) => count > 1 && count % 2 === 1)).toEqual([])
})
