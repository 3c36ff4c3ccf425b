import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { type PostgresHandle, query, startPrimary, startReplica } from '../../hack/services/postgres.ts'
import { expectEqual, gated, numbers, TABLE, useBackfillBeds } from './backfill-beds.ts'
import { type BackfillBed, type BackfillOptions, closeGate, gateAt, gateFrom } from './backfill-fixture.ts'
import { sourceUrl, tempDir, waitForReplica } from './services.ts'

const withBed = useBackfillBeds()
const never = new AbortController().signal

async function chunksDone(bed: BackfillBed, plan = 1): Promise<number> {
  const chunks = await bed.destination.ledger.readChunks(bed.uid, plan, never)
  return chunks.filter((chunk) => chunk.state === 'done').length
}

const untilDone = (bed: BackfillBed, count: number) =>
  until(async () => (await chunksDone(bed)) === count, { what: `${count} chunks`, timeoutMs: 60_000 })

/** Rows that COPY has read on the replica. */
async function rowsRead(bed: BackfillBed): Promise<number> {
  const [row] = await query<{ rows: number }>(
    bed.source.replicaUrl,
    `select coalesce(sum(rows), 0)::int as rows from pg_stat_statements s join pg_database d on d.oid = s.dbid
     where d.datname = current_database() and query like 'COPY%'`,
  )
  return row?.rows ?? 0
}

/** Runs a backfill until all chunks are done but the one at the gate, and ends it with kill -9. */
async function killAtGate(bed: BackfillBed): Promise<void> {
  const gate = await closeGate(bed.destinationUrl)
  const { child, exit } = bed.spawn()
  await bed.hold()
  await gate.reached()
  await untilDone(bed, 9)
  child.kill('SIGKILL')
  await exit
  await gate.open()
}

describe('a backfill that is interrupted', () => {
  it('goes on after kill -9 and copies no finished chunk again', async () => {
    await withBed('kill', gated(), async (bed) => {
      await killAtGate(bed)
      const second = bed.spawn()
      expect(await second.exit, second.output()).toBe(0)
      await expectEqual(bed)
      const chunks = await bed.destination.ledger.readChunks(bed.uid, 1, never)
      expect(chunks.map((chunk) => chunk.attempt).sort()).toEqual([...Array(9).fill(1), 2])
      expect(await rowsRead(bed)).toBeLessThanOrEqual(11_000)
      expect(await bed.copyStatus()).toMatchObject({ attempt: 2, rowsCopied: 10_000, stage: 'Done' })
    })
  })

  it.each([
    ['with a key', {}],
    [
      'without a key',
      {
        source: numbers(10_000)
          .replace(' primary key', '')
          .replace(/;/, '; alter table t replica identity full;'),
        destination: `create table t (id bigint, note text); ${gateAt(6_500)}`,
        action: 'Truncate',
      } as const,
    ],
  ])('begins anew when somebody has deleted what says what is to be copied; %s', async (name, more) => {
    await withBed(`gone_${name.replaceAll(' ', '_')}`, gated(more), async (bed) => {
      await killAtGate(bed)
      await query(bed.destinationUrl, `delete from millrace.chunks where state = 'planned'`)
      const second = bed.spawn()
      expect(await second.exit, second.output()).toBe(0)
      await expectEqual(bed)
      expect(await bed.ledgerRow()).toMatchObject({ state: 'copied', plan: 2, rows: 10_000n })
      expect((await bed.copyStatus()).warnings).toEqual([
        expect.stringMatching(/^LedgerChanged: .* begins anew/),
      ])
    })
  })

  it('ends soon after SIGTERM, asking to be started again', async () => {
    await withBed('term', gated(), async (bed) => {
      const gate = await closeGate(bed.destinationUrl)
      const worker = bed.spawn()
      await bed.hold()
      await gate.reached()
      const asked = performance.now()
      worker.child.kill('SIGTERM')
      expect(await worker.exit).toBe(1)
      expect(performance.now() - asked).toBeLessThan(15_000)
      await gate.open()
      expect(await bed.ledgerRow()).toMatchObject({ state: 'held' })
    })
  })

  it('writes nothing any more once it is cancelled', async () => {
    await withBed('cancel', gated(), async (bed) => {
      const gate = await closeGate(bed.destinationUrl)
      const running = bed.run()
      await bed.hold()
      await gate.reached()
      await untilDone(bed, 9)
      await bed.patch({ cancel: true })
      await expect(running.done).rejects.toMatchObject({
        code: 'NotHeld',
        message: 'TableBackfill first was cancelled',
      })
      await bed.destination.ledger.closeBackfill(
        {
          uid: bed.uid,
          name: 'first',
          table: { schema: 'public', name: 't' },
          action: 'DoNothing',
          code: 'Cancelled',
          message: 'cancelled',
        },
        never,
      )
      await gate.open()
      await until(
        async () =>
          (
            await query(
              bed.destinationUrl,
              `select 1 from pg_stat_activity where application_name = 'millrace-backfill' and datname = current_database()`,
            )
          ).length === 0,
        { what: 'the end of its sessions', timeoutMs: 30_000 },
      )
      expect(await query(bed.destinationUrl, 'select count(*)::int as n from t')).toEqual([{ n: 9_000 }])
      expect(await bed.copyStatus()).toMatchObject({ failed: { code: 'Cancelled' } })
    })
  })

  it('writes nothing once apply has closed it, and says why it was closed', async () => {
    await withBed('closed', gated(), async (bed) => {
      const gate = await closeGate(bed.destinationUrl)
      const running = bed.run()
      await bed.hold()
      await gate.reached()
      await untilDone(bed, 9)
      await bed.destination.ledger.closeBackfill(
        {
          uid: bed.uid,
          name: 'first',
          table: { schema: 'public', name: 't' },
          action: 'DoNothing',
          code: 'SlotLost',
          message: 'changes were lost',
        },
        never,
      )
      await gate.open()
      await expect(running.done).rejects.toMatchObject({ code: 'NotHeld', message: 'changes were lost' })
      expect(await query(bed.destinationUrl, 'select count(*)::int as n from t')).toEqual([{ n: 9_000 }])
      expect(await bed.copyStatus()).toMatchObject({
        failed: { code: 'SlotLost', message: 'changes were lost', retryable: false },
      })
    })
  })

  it('leaves the table to a second pod that took it over', async () => {
    await withBed('second', gated(), async (bed) => {
      const gate = await closeGate(bed.destinationUrl)
      const first = bed.run()
      await bed.hold()
      await gate.reached()
      await untilDone(bed, 9)
      const second = bed.run()
      await until(async () => (await bed.ledgerRow())?.attempt === 2, {
        what: 'the second attempt',
        timeoutMs: 30_000,
      })
      await query(
        bed.destinationUrl,
        `select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and not granted`,
      )
      await expect(first.done).rejects.toThrow(/another pod works on this backfill/)
      await gate.open()
      await second.done
      await expectEqual(bed)
      expect(await bed.ledgerRow()).toMatchObject({ state: 'copied', attempt: 2, rows: 10_000n })
    })
  })
})

describe('a replica', () => {
  it('that does not replay is waited for, and the status says so', async () => {
    await withBed('paused', { source: numbers(3_000) }, async (bed) => {
      await waitForReplica()
      await query(bed.source.replicaUrl, 'select pg_wal_replay_pause()')
      const running = bed.run()
      try {
        await query(bed.source.url, `insert into t values (0, 'late')`)
        const held = await bed.hold()
        const copy = await bed.untilStatus('waiting for replay', ({ message }) =>
          /replay/.test(message ?? ''),
        )
        expect(copy.stage).toBe('WaitingForReplay')
        expect(copy.message).toMatch(
          /^waiting for replica 127\.0\.0\.1:\d+ to replay to [0-9A-F]+\/[0-9A-F]+ \(now [0-9A-F]+\/[0-9A-F]+, \d+ kB behind; its replay is paused/,
        )
        expect(held.actionDone).toBe(false)
        expect((await bed.ledgerRow())?.actionDone).toBe(false)
      } finally {
        await query(bed.source.replicaUrl, 'select pg_wal_replay_resume()')
      }
      await running.done
      await expectEqual(bed)
    })
  })

  it('is refused when it is the primary itself', async () => {
    const options = { source: numbers(10), joined: true }
    await withBed('not_replica', { ...options, replicas: [primaryPlace()] }, async (bed) => {
      const running = bed.run()
      const copy = await bed.untilStatus('refused', ({ code }) => code === 'ReplicaMismatch')
      expect(copy.message).toContain('spec.source.postgres.replicas[0].host')
      expect(copy.message).toContain('is the primary itself; name a replica, or set readFrom to Primary')
      expect((await bed.messages()).filter(({ kind }) => kind === 'hold')).toEqual([])
      running.stop()
      await expect(running.done).rejects.toThrow('stopped')
    })
  })
})

function primaryPlace() {
  const url = new URL(sourceUrl())
  return { host: url.hostname, port: Number(url.port) }
}

describe('servers that fail', () => {
  it('the destination: its chunks are tried again', async () => {
    await withBed('dest_lost', gated({ backfill: { chunkRows: 1_000, parallelism: 2 } }), async (bed) => {
      const gate = await closeGate(bed.destinationUrl)
      const running = bed.run()
      await bed.hold()
      await gate.reached()
      await query(
        bed.destinationUrl,
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'millrace-backfill'`,
      )
      const copy = await bed.untilStatus('trouble', ({ code }) => code === 'DestinationUnavailable')
      expect(copy.stage).toBe('Copying')
      await gate.open()
      await running.done
      await expectEqual(bed)
      expect(await bed.ledgerRow()).toMatchObject({ state: 'copied', attempt: 1, rows: 10_000n })
      expect((await bed.copyStatus()).code).toBeUndefined()
    })
  })

  describe('the replica', () => {
    let primary: PostgresHandle
    let replica: PostgresHandle
    const own = () => ({ servers: { primary: primary.url, replica: replica.url } })

    beforeAll(async () => {
      const dir = tempDir('own')
      primary = await startPrimary({ dir: `${dir}/primary`, name: 'primary' })
      const settings = {
        max_standby_streaming_delay: '100ms',
        hot_standby_feedback: 'off',
        // Says so in its log when it still waits for a query that it has told to end.
        log_recovery_conflict_waits: 'on',
        deadlock_timeout: '500ms',
      }
      replica = await startReplica(primary, { dir: `${dir}/replica`, settings })
    })
    afterAll(async () => {
      await replica?.stop('immediate')
      await primary?.stop('immediate')
    })

    it.each(['Key', 'Ctid'])('is killed and comes back; %s', async (scan) => {
      const source = `${TABLE}; insert into t select i, repeat('x', 100) || i from generate_series(1, 10000) i; analyze t`
      const options = gated({
        source,
        // Chunks are left that can be read only when it is back.
        destination: `${TABLE}; ${gateFrom(3_500)}`,
        backfill: { chunkRows: 1_000, parallelism: 2, scan },
        ...own(),
      })
      await withBed(`killed_${scan.toLowerCase()}`, options, async (bed) => {
        const gate = await closeGate(bed.destinationUrl)
        const running = bed.run()
        await bed.hold()
        await gate.reached()
        await replica.kill9()
        await gate.open()
        await bed.untilStatus('trouble', ({ code }) => code !== undefined)
        await replica.start()
        await running.done
        await expectEqual(bed)
        expect(await bed.ledgerRow()).toMatchObject({ state: 'copied', plan: 1, rows: 10_000n })
      })
    })

    it('ends a query that is in the way of its replay: the chunk is read again in parts', async () => {
      const options: BackfillOptions = {
        source: `${TABLE}; alter table t alter note set storage external;
          insert into t select i, repeat(md5(i::text), 1000) from generate_series(1, 2000) i; analyze t`,
        destination: `${TABLE}; ${gateAt(1_010)}`,
        backfill: { chunkRows: 1_000, parallelism: 2, scan: 'Key' },
        ...own(),
      }
      await withBed('conflict', options, async (bed) => {
        const gate = await closeGate(bed.destinationUrl)
        const running = bed.run()
        await bed.hold()
        await gate.reached()
        await untilDone(bed, 1)
        // Its snapshot is older than this: replay would have to wait for the reader, which waits for the destination.
        await query(bed.source.url, `delete from t where id % 100 = 0`)
        await query(bed.source.url, 'vacuum t')
        // Where the query is just writing to its client, replay waits for it until it goes on.
        const ended = `select 1 from pg_stat_activity
          where datname = current_database() and state = 'idle in transaction (aborted)'`
        const isInTheWay = async () =>
          readFileSync(replica.logFile, 'utf8').includes('recovery conflict on snapshot') ||
          (await query(bed.source.replicaUrl, ended)).length > 0
        await until(isInTheWay, { what: 'the query to be in the way', timeoutMs: 30_000 })
        await gate.open()
        await running.done
        const chunks = await bed.destination.ledger.readChunks(bed.uid, 1, never)
        expect(chunks.filter((chunk) => chunk.state === 'split')).toHaveLength(1)
        expect(chunks.filter((chunk) => chunk.state === 'done')).toHaveLength(3)
        const failures = await running.metrics.getSingleMetricAsString('millrace_backfill_failures_total')
        expect(failures).toContain('of="chunk",code="ReplicaConflict"')
        // Deleted after the hold: in the first chunk they are there still, which the queue sees to.
        const [row] = await query<{ n: number }>(
          bed.destinationUrl,
          `select count(*)::int as n from t where id > 1000`,
        )
        expect(row?.n).toBe(990)
      })
    })
  })
})
