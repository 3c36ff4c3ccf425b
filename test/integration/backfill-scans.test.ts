import { describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { query } from '../../hack/services/postgres.ts'
import { expectEqual, gated, TABLE, useBackfillBeds } from './backfill-beds.ts'
import { type BackfillBed, type BackfillOptions, closeGate, gateAt } from './backfill-fixture.ts'
import { waitForReplica, withClient } from './services.ts'

const withBed = useBackfillBeds()

describe('a key range scan', () => {
  it('loses no row to a rewrite that it had to wait for', async () => {
    const backfill = { chunkRows: 1_000, parallelism: 1, scan: 'Key', readFrom: 'Primary' }
    await withBed('alter', gated({ backfill }), async (bed) => {
      const gate = await closeGate(bed.destinationUrl)
      const running = bed.run()
      await bed.hold()
      await gate.reached()
      await withClient(bed.source.url, async (owner) => {
        await owner.query('begin; alter table t add column v float default random()')
        await gate.open()
        await untilLockAwaited(bed, 'AccessShareLock')
        await owner.query('commit')
      })
      await running.done
      expect(await query(bed.destinationUrl, 'select count(*)::int as n from t')).toEqual([{ n: 10_000 }])
    })
  })
})

describe('a type that is widened in place during the copy', () => {
  it.each([
    ['text', 'varchar(20)', 'varchar(200)', `repeat('x', 150)`],
    ['number', 'numeric(10,2)', 'numeric(12,2)', '1234567890.12'],
  ])('is taken over, and its new values come along: %s', async (name, narrow, wide, value) => {
    const table = `create table t (id bigint primary key, v ${narrow})`
    const options: BackfillOptions = {
      source: `${table}; insert into t select i, i::text::${narrow} from generate_series(1, 3000) i; analyze t`,
      destination: `${table}; ${gateAt(500)}`,
      backfill: { chunkRows: 1_000, parallelism: 1, scan: 'Key', readFrom: 'Primary' },
    }
    await withBed(`widened_${name}`, options, async (bed) => {
      const gate = await closeGate(bed.destinationUrl)
      const running = bed.run()
      await bed.hold()
      await gate.reached()
      await query(
        bed.source.url,
        `alter table t alter v type ${wide}; update t set v = ${value} where id in (1500, 2500)`,
      )
      await gate.open()
      await running.done
      await expectEqual(bed)
      expect(await bed.ledgerRow()).toMatchObject({ state: 'copied', attempt: 1, rows: 3_000n })
    })
  })
})

describe('a block range scan', () => {
  const ctid = { chunkRows: 1_000, scan: 'Ctid', parallelism: 1 }
  const fromPrimary = { ...ctid, readFrom: 'Primary' }
  // 10,000 rows of about 100 bytes: 19 blocks to a chunk of 1,000.
  const source = `create extension pg_stat_statements; ${TABLE};
     insert into t select i, repeat('x', 100) || i from generate_series(1, 10000) i; analyze t`

  it('appends under one snapshot, also what changes meanwhile', async () => {
    await withBed('snap', gated({ source, backfill: fromPrimary }), async (bed) => {
      const gate = await closeGate(bed.destinationUrl)
      const running = bed.run()
      await bed.hold()
      await gate.reached()
      // Moves every row to the end of the file, where a later chunk would find it once more.
      await query(bed.source.url, `update t set note = 'changed'`)
      await gate.open()
      await running.done
      expect(
        await query(bed.destinationUrl, `select count(*)::int as n from t where note like 'xxx%'`),
      ).toEqual([{ n: 10_000 }])
      expect(await bed.ledgerRow()).toMatchObject({ scan: 'Ctid', append: true, rows: 10_000n })
    })
  })

  it('goes on by upserts when its snapshot is lost', async () => {
    await withBed('lost', gated({ source, backfill: fromPrimary }), async (bed) => {
      const gate = await closeGate(bed.destinationUrl)
      const running = bed.run()
      await bed.hold()
      await gate.reached()
      await query(bed.source.url, `update t set note = 'changed' where id <= 3000`)
      await endSnapshotHolder(bed.source.url)
      await gate.open()
      await running.done
      // Most of the rows that moved were read once more, under a later snapshot; each of them is there once.
      const [{ n, changed } = { n: 0, changed: 0 }] = await query<{ n: number; changed: number }>(
        bed.destinationUrl,
        `select count(*)::int as n, count(*) filter (where note = 'changed')::int as changed from t`,
      )
      expect(n).toBe(10_000)
      expect(changed).toBeGreaterThan(2_000)
      expect(await bed.ledgerRow()).toMatchObject({ state: 'copied', attempt: 1, plan: 1 })
    })
  })

  it('shares no snapshot of a replica on which something runs, and leaves the rows of that alone', async () => {
    const more = { source, destination: TABLE, backfill: { ...ctid, parallelism: 2 } }
    await withBed('overflow', more, async (bed) => {
      const running = bed.run()
      // The hold waits for who has written to the table before.
      const isHeld = async () => (await bed.messages()).some(({ kind }) => kind === 'hold')
      await until(isHeld, { what: 'the hold in the log', timeoutMs: 60_000 })
      await withClient(bed.source.url, async (writer) => {
        // So many subtransactions that the replica does not keep them apart.
        await writer.query(`begin; insert into t values (20001, 'late')`)
        for (let i = 0; i < 70; i += 1)
          await writer.query(`savepoint s; update t set note = 'late' where id = ${i}; release s`)
        await query(bed.source.url, `update t set note = 'early' where id = 9000`)
        await waitForReplica()
        await bed.hold()
        await running.done
        await writer.query('commit')
      })
      await waitForReplica()
      const late = `select count(*)::int as late from t where note = 'late'`
      expect(await query(bed.source.replicaUrl, late)).toEqual(await query(bed.source.url, late))
      expect(await bed.ledgerRow()).toMatchObject({ state: 'copied', scan: 'Ctid', append: false })
    })
  })

  it('plans anew when the table is rewritten under it', async () => {
    await withBed('rewritten', gated({ source, backfill: fromPrimary }), async (bed) => {
      await query(bed.source.url, 'delete from t where id % 2 = 0 and id <> 6500')
      const gate = await closeGate(bed.destinationUrl)
      const running = bed.run()
      await bed.hold()
      await gate.reached()
      await query(bed.source.url, 'vacuum full t')
      await gate.open()
      await running.done
      await expectEqual(bed)
      expect(await bed.ledgerRow()).toMatchObject({ state: 'copied', plan: 2, append: false })
    })
  })
})

describe('a table without a key', () => {
  it('is emptied and copied anew when its snapshot is lost', async () => {
    const options = gated({
      source: `create table t (id bigint, note text); alter table t replica identity full;
        insert into t select i, repeat('x', 100) from generate_series(1, 10000) i; analyze t`,
      destination: `create table t (id bigint, note text); ${gateAt(6_500)}`,
      action: 'Truncate',
      backfill: { chunkRows: 1_000, parallelism: 1 },
    })
    await withBed('keyless_lost', options, async (bed) => {
      const gate = await closeGate(bed.destinationUrl)
      const running = bed.run()
      await bed.hold()
      await gate.reached()
      const first = await bed.ledgerRow()
      // Seen by the second snapshot only.
      await query(bed.source.url, `insert into t values (1, 'late')`)
      await endSnapshotHolder(bed.source.url)
      await gate.open()
      await running.done
      await expectEqual(bed)
      const row = await bed.ledgerRow()
      expect(row).toMatchObject({ state: 'copied', plan: 2, append: true, rows: 10_001n })
      expect(row?.visibility).not.toBe(first?.visibility)
    })
  })
})

/** Waits until somebody waits for a lock of that strength on the primary. */
async function untilLockAwaited(bed: BackfillBed, mode: string): Promise<void> {
  const waiting = `select 1 from pg_locks where mode = '${mode}' and not granted
    and database = (select oid from pg_database where datname = current_database())`
  await until(async () => (await query(bed.source.url, waiting)).length > 0, {
    what: `a wait for ${mode}`,
    timeoutMs: 30_000,
  })
}

/** Ends the session that has had a transaction open for longest. */
async function endSnapshotHolder(url: string): Promise<void> {
  const rows = await query(
    url,
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and application_name = 'millrace-backfill' and state = 'idle in transaction'
     order by xact_start limit 1`,
  )
  expect(rows).toHaveLength(1)
}
