import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'

/** What the load has done so far. */
export interface WriteLoad {
  /** Rows changed by committed transactions. */
  readonly changes: () => number
  /** Ends after the transaction at hand; throws what the load died of. */
  stop(): Promise<void>
}

const TICK_MILLISECONDS = 50

/**
 * Writes to the shop's tables at a steady rate until stopped: inserts, updates (with and without the large value),
 * deletes, key changes, and transactions that are rolled back.
 *
 * @param rate row changes a second, over all tables
 */
export async function startWriteLoad(url: string, rate: number): Promise<WriteLoad> {
  const client = new Client({ connectionString: url, application_name: 'demo-write-load' })
  await client.connect()
  const stopped = new AbortController()
  let changes = 0
  const done = (async () => {
    const start = Date.now()
    while (!stopped.signal.aborted) {
      // Behind schedule after a slow stretch: catch up in steps, not in one huge transaction.
      const due = ((Date.now() - start) / 1000) * rate - changes
      if (due >= 1)
        changes += await transaction(client, Math.min(Math.ceil(due), (rate * TICK_MILLISECONDS) / 250))
      else await sleep(TICK_MILLISECONDS, undefined, { signal: stopped.signal }).catch(() => {})
    }
  })()
  done.catch(() => {}) // reported by stop()
  return {
    changes: () => changes,
    async stop() {
      stopped.abort()
      try {
        await done
      } finally {
        await client.end()
      }
    },
  }
}

const MIX: readonly { share: number; sql: string }[] = [
  {
    share: 0.3,
    sql: `INSERT INTO public.orders (customer, status, amount, note, details)
          SELECT i, 'new', random() * 100, md5(random()::text), '{"live": true}' FROM generate_series(1, $1::int) AS i`,
  },
  {
    share: 0.3,
    sql: `UPDATE public.orders SET status = 'paid', amount = amount + 1
          WHERE id IN (SELECT (random() * (SELECT max(id) FROM public.orders))::bigint FROM generate_series(1, $1::int))`,
  },
  {
    share: 0.08,
    sql: `DELETE FROM public.orders
          WHERE id IN (SELECT (random() * (SELECT max(id) FROM public.orders))::bigint FROM generate_series(1, $1::int))`,
  },
  {
    share: 0.02,
    sql: `UPDATE public.orders SET id = nextval(pg_get_serial_sequence('public.orders', 'id'))
          WHERE id IN (SELECT (random() * (SELECT max(id) FROM public.orders))::bigint FROM generate_series(1, $1::int))`,
  },
  {
    share: 0.08,
    sql: `UPDATE public.documents SET revision = revision + 1
          WHERE id IN (SELECT md5((random() * 20000)::int::text)::uuid FROM generate_series(1, $1::int))`,
  },
  {
    share: 0.01,
    sql: `UPDATE public.documents SET id = gen_random_uuid(), title = title || '!'
          WHERE id IN (SELECT md5((random() * 20000)::int::text)::uuid FROM generate_series(1, $1::int))`,
  },
  {
    share: 0.01,
    sql: `UPDATE public.documents SET body = repeat(md5(random()::text), 150)
          WHERE id IN (SELECT md5((random() * 20000)::int::text)::uuid FROM generate_series(1, $1::int))`,
  },
  {
    share: 0.1,
    sql: `INSERT INTO public.events (at, kind, reading)
          SELECT timestamp '2026-01-01' + random() * interval '300 days', 'live', random() FROM generate_series(1, $1::int)`,
  },
  {
    share: 0.08,
    sql: `UPDATE public.events SET reading = random()
          WHERE id IN (SELECT (random() * (SELECT max(id) FROM public.events))::bigint FROM generate_series(1, $1::int))`,
  },
  {
    share: 0.02,
    sql: `DELETE FROM public.events
          WHERE id IN (SELECT (random() * (SELECT max(id) FROM public.events))::bigint FROM generate_series(1, $1::int))`,
  },
]

async function transaction(client: Client, size: number): Promise<number> {
  let changed = 0
  await client.query('BEGIN')
  for (const { share, sql } of MIX) {
    const count = size * share
    const whole = Math.floor(count) + (Math.random() < count % 1 ? 1 : 0)
    if (whole > 0) changed += (await client.query(sql, [whole])).rowCount ?? 0
  }
  if (Math.random() < 0.02) {
    await client.query('ROLLBACK')
    return 0
  }
  await client.query('COMMIT')
  return changed
}
