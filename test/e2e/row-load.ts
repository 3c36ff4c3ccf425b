import { Client } from 'pg'
import { OWNER } from '../../hack/demo/site.ts'

/** Steady single-table writes at a given rate, in small transactions, until stopped. */
export async function startRowLoad(url: string, table: string, rate: number) {
  const client = new Client({ connectionString: url, application_name: 'row-load' })
  await client.connect()
  await client.query(`SET ROLE ${OWNER}`)
  let changes = 0
  let stopped = false
  const step = Math.max(1, Math.round(rate / 20))
  const done = (async () => {
    const start = Date.now()
    while (!stopped) {
      if (((Date.now() - start) / 1000) * rate - changes < step) {
        await new Promise((resolve) => setTimeout(resolve, 10))
        continue
      }
      const part = (share: number) => Math.max(1, Math.round(step * share))
      const some = (n: number) =>
        `id IN (SELECT (random() * (SELECT max(id) FROM ${table}))::bigint FROM generate_series(1, ${n}))`
      const results = await client.query(`BEGIN;
        INSERT INTO ${table} (account, title, note) SELECT i, 'live', md5(random()::text) FROM generate_series(1, ${part(0.4)}) AS i;
        UPDATE ${table} SET amount = random() * 1000, note = NULL WHERE ${some(part(0.45))};
        DELETE FROM ${table} WHERE ${some(part(0.1))};
        UPDATE ${table} SET id = nextval(pg_get_serial_sequence('${table}', 'id')) WHERE ${some(part(0.05))};
        COMMIT`)
      for (const result of results as unknown as { rowCount: number | null }[])
        changes += result.rowCount ?? 0
    }
  })()
  done.catch(() => {}) // reported by stop()
  return {
    changes: () => changes,
    async stop() {
      stopped = true
      await done
      await client.end()
    },
  }
}
