import { rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { query } from '../../hack/services/postgres.ts'
import { expectEqual, numbers, useBackfillBeds } from './backfill-beds.ts'
import type { BackfillBed } from './backfill-fixture.ts'
import { replicaUrl, sourceUrl, waitForReplica, withClient } from './services.ts'

const withBed = useBackfillBeds()

async function holds(bed: BackfillBed): Promise<number> {
  return (await bed.messages()).filter(({ kind }) => kind === 'hold').length
}

describe('before the hold, a backfill waits', () => {
  it('until capture has added the table to the publication', async () => {
    await withBed('member', { source: numbers(100), joined: false }, async (bed) => {
      const running = bed.run()
      const copy = await bed.untilStatus('waiting', ({ stage }) => stage === 'WaitingForPublication')
      expect(copy.message).toBe('waiting for capture to add table public.t to publication bf_member')
      expect(await holds(bed)).toBe(0)
      await bed.join()
      await bed.hold()
      await running.done
      await expectEqual(bed)
    })
  })

  it('until transactions that have written the table have ended, and names them', async () => {
    await withBed('writers', { source: numbers(100) }, async (bed) => {
      await withClient(bed.source.url, async (writer) => {
        await writer.query(`begin; insert into t values (101, 'open')`)
        const running = bed.run()
        const copy = await bed.untilStatus(
          'waiting',
          ({ stage, message }) => stage === 'WaitingForWriters' && message !== undefined,
        )
        expect(copy.message).toMatch(
          /^waiting for one of the transactions that write public\.t to end: pid \d+ \(user postgres/,
        )
        expect(await holds(bed)).toBe(0)
        await writer.query('commit')
        await bed.hold()
        await running.done
      })
      await expectEqual(bed)
    })
  })
})

describe('a table that changes before the hold', () => {
  /** What lies before the hold is never applied from the queue, so the copy has to have it. */
  async function expectFilled(bed: BackfillBed): Promise<void> {
    const rows = await query(bed.destinationUrl, 'select id, note, c from t order by id')
    expect(rows).toEqual([1, 2, 3].map((id) => ({ id: String(id), note: `note ${id}`, c: id })))
  }

  it('is copied with a column that an open transaction was adding and filling', async () => {
    await withBed('adding', { source: numbers(3) }, async (bed) => {
      await withClient(bed.source.url, async (writer) => {
        await writer.query('begin; alter table t add column c int; update t set c = id')
        const running = bed.run()
        await untilLockAwaited(bed)
        await writer.query('commit')
        await bed.hold()
        await running.done
      })
      await expectFilled(bed)
    })
  })

  it('is copied with a column that was added and filled while it was waited for', async () => {
    await withBed('added', { source: numbers(3), joined: false }, async (bed) => {
      const running = bed.run()
      await bed.untilStatus('waiting', ({ stage }) => stage === 'WaitingForPublication')
      await query(bed.source.url, 'alter table t add column c int; update t set c = id')
      await bed.join()
      await bed.hold()
      await running.done
      await expectFilled(bed)
    })
  })

  it('is looked at again before the destination is acted on', async () => {
    await withBed('unkeyed', { source: numbers(3) }, async (bed) => {
      const running = bed.run()
      await bed.untilStatus('holding', ({ stage }) => stage === 'Holding')
      await query(bed.source.url, 'alter table t drop constraint t_pkey')
      await waitForReplica()
      await bed.hold()
      const copy = await bed.untilStatus('refused', ({ code }) => code === 'NoReplicaIdentity')
      expect(copy.message).toContain('table public.t has no primary key')
      expect((await bed.ledgerRow())?.actionDone).toBe(false)
      await query(bed.source.url, 'alter table t add primary key (id)')
      await running.done
      await expectEqual(bed)
    })
  })
})

describe('wrong input is named, and right input gone on with', () => {
  it('a Secret that is not there yet', async () => {
    await withBed('secret', { source: numbers(100) }, async (bed) => {
      const file = join(bed.secretsDir, 'source', 'password')
      rmSync(file)
      const running = bed.run()
      const copy = await bed.untilStatus('refused', ({ code }) => code === 'SecretMissing')
      expect(copy.message).toContain('spec.source.postgres.credentialsSecretRef')
      writeFileSync(file, 'postgres')
      await bed.hold()
      await running.done
      await expectEqual(bed)
    })
  })

  it('a wrong password of the destination', async () => {
    await withBed('password', { source: numbers(100) }, async (bed) => {
      const file = join(bed.secretsDir, 'destination', 'password')
      writeFileSync(file, 'wrong')
      const running = bed.run()
      const copy = await bed.untilStatus('refused', ({ code }) => code === 'AuthenticationFailed')
      expect(copy.message).toContain('spec.destination.postgres.credentialsSecretRef')
      expect(await holds(bed)).toBe(0)
      writeFileSync(file, 'postgres')
      await bed.hold()
      await running.done
      await expectEqual(bed)
    })
  })

  it('a table that is not there yet', async () => {
    await withBed('table', { source: 'select 1', joined: false }, async (bed) => {
      const running = bed.run()
      const copy = await bed.untilStatus('refused', ({ code }) => code === 'TableNotFound')
      expect(copy.message).toContain('has no table public.t')
      await query(bed.source.url, numbers(100))
      await bed.join()
      await bed.hold()
      await running.done
      await expectEqual(bed)
    })
  })

  it('a replica that nobody answers for', async () => {
    const replicas = [{ host: '127.0.0.1', port: 1 }]
    await withBed('unreachable', { source: numbers(100), replicas }, async (bed) => {
      const running = bed.run()
      const copy = await bed.untilStatus('refused', ({ code }) => code === 'HostUnreachable')
      expect(copy.message).toMatch(
        /^spec\.source\.postgres\.replicas\[0\]\.host: cannot reach PostgreSQL at 127\.0\.0\.1:1/,
      )
      expect(await holds(bed)).toBe(0)
      running.stop()
      await expect(running.done).rejects.toThrow('stopped')
    })
  })
})

describe('the server that is read', () => {
  it('is refused when its address leads to several', async () => {
    const spread = await spreadOver([replicaUrl(), sourceUrl()])
    try {
      const replicas = [{ host: '127.0.0.1', port: spread.port }]
      await withBed('spread', { source: numbers(100), replicas }, async (bed) => {
        const running = bed.run()
        const copy = await bed.untilStatus('refused', ({ code }) => code === 'ReplicaMismatch')
        expect(copy.message).toMatch(
          /leads to different servers \(.*\); name one replica, not a load balancer$/,
        )
        running.stop()
        await expect(running.done).rejects.toThrow('stopped')
      })
    } finally {
      await spread.close()
    }
  })

  it('may be the primary, once all that ran at the hold has ended there', async () => {
    const options = {
      source: `${numbers(100)}; create table other (id int)`,
      backfill: { readFrom: 'Primary' },
    }
    await withBed('primary', options, async (bed) => {
      await withClient(bed.source.url, async (other) => {
        await other.query('begin; insert into other values (1)')
        const running = bed.run()
        await bed.hold()
        const copy = await bed.untilStatus(
          'waiting',
          ({ stage, message }) => stage === 'WaitingForReplay' && message !== undefined,
        )
        expect(copy.message).toMatch(
          /^waiting for one of the transactions that began before the hold to end: pid \d+/,
        )
        expect((await bed.ledgerRow())?.actionDone).toBe(false)
        await other.query('rollback')
        await running.done
      })
      await expectEqual(bed)
    })
  })
})

describe('watermarks', () => {
  it('the hold is written again when nothing comes of it', { timeout: 60_000 }, async () => {
    await withBed('again', { source: numbers(100) }, async (bed) => {
      const running = bed.run()
      await bed.untilStatus('holding', ({ stage }) => stage === 'Holding')
      while ((await holds(bed)) < 2) await new Promise((resolve) => setTimeout(resolve, 500))
      await bed.hold()
      await running.done
      await expectEqual(bed)
    })
  })

  it('only the release is written when everything was copied already', async () => {
    await withBed('release', { source: numbers(100) }, async (bed) => {
      await bed.complete()
      await bed.run().done
      const kinds = (await bed.messages()).map(({ kind }) => kind)
      expect(kinds).toEqual(['join', 'hold', 'release', 'release'])
      expect(await bed.ledgerRow()).toMatchObject({ state: 'copied', attempt: 1 })
      expect(await bed.copyStatus()).toMatchObject({ stage: 'Done', rowsCopied: 100 })
    })
  })
})

async function untilLockAwaited(bed: BackfillBed): Promise<void> {
  const waiting = `select 1 from pg_locks where mode = 'AccessShareLock' and not granted
    and database = (select oid from pg_database where datname = current_database())`
  await until(async () => (await query(bed.source.url, waiting)).length > 0, {
    what: 'somebody who waits for the table',
    timeoutMs: 30_000,
  })
}

/** A TCP port whose connections go to the servers in turn. */
async function spreadOver(urls: readonly string[]): Promise<{ port: number; close(): Promise<void> }> {
  let next = 0
  const server = createServer((client) => {
    const url = new URL(urls[next++ % urls.length] as string)
    const upstream = connect(Number(url.port), url.hostname)
    for (const socket of [client, upstream]) {
      socket.on('error', () => {})
      socket.on('close', () => {
        client.destroy()
        upstream.destroy()
      })
    }
    client.pipe(upstream).pipe(client)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
}
