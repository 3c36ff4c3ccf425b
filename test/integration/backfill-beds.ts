import { afterAll, beforeAll, expect } from 'vitest'
import type { Transport } from '../../lib/kube/transport.ts'
import { type BackfillBed, type BackfillOptions, gateAt, openBed } from './backfill-fixture.ts'
import { adminTransport, installCrds } from './kubernetes.ts'

/** For a test file: registers the hooks, and gives what opens a bed for as long as `work` takes. */
export function useBackfillBeds() {
  let transport: Transport | undefined

  beforeAll(async () => {
    transport = await adminTransport()
    await installCrds(transport)
  })
  afterAll(() => transport?.close())

  return async (
    name: string,
    options: BackfillOptions,
    work: (bed: BackfillBed) => Promise<void>,
  ): Promise<void> => {
    if (!transport) throw new Error('the API server has not been started yet')
    const bed = await openBed(transport, name, options)
    try {
      await work(bed)
    } finally {
      await bed.close()
    }
  }
}

/** A table `t` of so many rows. */
export const numbers = (rows: number) =>
  `create table t (id bigint primary key, note text);
   insert into t select i, 'note ' || i from generate_series(1, ${rows}) i;
   analyze t`

export const TABLE = 'create table t (id bigint primary key, note text)'
/** 10 chunks of 1,000 rows; the row 6,500 waits at the gate. */
export const gated = (more: Partial<BackfillOptions> = {}): BackfillOptions => ({
  source: `create extension pg_stat_statements; ${numbers(10_000)}`,
  destination: `${TABLE}; ${gateAt(6_500)}`,
  backfill: { chunkRows: 1_000 },
  ...more,
})

/** Fails when source and destination differ, or are both empty. */
export async function expectEqual(bed: BackfillBed): Promise<void> {
  const { source, destination } = await bed.contents()
  expect(source).not.toBe('')
  expect(destination === source).toBe(true)
}
