import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Transport } from '../../lib/kube/transport.ts'
import { openBed, peakMemory } from './backfill-fixture.ts'
import { adminTransport, installCrds } from './kubernetes.ts'

let transport: Transport

beforeAll(async () => {
  transport = await adminTransport()
  await installCrds(transport)
})
afterAll(() => transport.close())

const MB = 1024 * 1024

describe('memory', () => {
  it('does not depend on the size of a row', { timeout: 240_000 }, async () => {
    // 30 MB each, 60 MB as text.
    const source = `create table t (id bigint primary key, body bytea);
      alter table t alter body set storage external;
      insert into t select i, convert_to(repeat(md5(i::text), 983040), 'UTF8') from generate_series(1, 5) i; analyze t`
    const bed = await openBed(transport, 'wide', { source, backfill: { chunkRows: 1, parallelism: 5 } })
    try {
      const worker = bed.spawn()
      const memory = peakMemory(worker)
      await bed.hold()
      expect(await worker.exit, worker.output()).toBe(0)
      const row = await bed.ledgerRow()
      expect(row).toMatchObject({ state: 'copied', rows: 5n })
      expect(Number(row?.bytes)).toBeGreaterThan(5 * 60_000_000)
      expect(await memory).toBeLessThan(170 * MB)
      expect(await memory).toBeGreaterThan(20 * MB)
    } finally {
      await bed.close()
    }
  })
})
