import { expect, it } from 'vitest'
import type { Connection } from '../source/connect.ts'
import { keepSlot } from './slot-watch.ts'
import type { SqlSession } from './sql-session.ts'

it('ends the session when the server that is asked has no such slot', async () => {
  const connection = { serverVersion: 180_000, query: async () => [] } as unknown as Connection
  const sql = { use: async (work: (on: Connection) => unknown) => await work(connection) } as SqlSession
  const end = new AbortController()
  const watch = keepSlot({
    sql,
    slot: 's',
    heartbeatSeconds: () => 0,
    recorded: () => 0n,
    commits: () => 0,
    async compact() {
      end.abort(new Error('it went on'))
    },
    report: { facts() {}, tables() {}, trouble() {} },
  })
  await expect(watch.run(end.signal)).rejects.toMatchObject({ code: 'SlotLost' })
})
