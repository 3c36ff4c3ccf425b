import { expect, it, vi } from 'vitest'
import type { ScanFacts } from '../source/scan-plan.ts'
import type { Attempt } from './context.ts'
import { makePlan } from './plan.ts'
import type { ScanServer } from './server.ts'

it('asks whether the replica has everything before the snapshot is taken, on the same connection (R10)', async () => {
  const order: string[] = []
  const connection = {
    lost: new AbortController().signal,
    async query(text: string) {
      order.push(text.trim().split(/\s+/)[0] ?? '')
      return text.includes('pg_export_snapshot') ? [{ id: '1-1', visibility: '' }] : []
    },
    close: async () => {},
  }
  const server = {
    connect: async () => connection,
    async assertCurrent(asked: unknown) {
      expect(asked).toBe(connection)
      order.push('asked')
    },
  } as unknown as ScanServer
  const attempt = {
    report: { stage() {}, facts() {} },
    settings: { chunkRows: 10, parallelism: 1, target: {} },
    definition: { schema: 'public', name: 't', key: [], columns: [] },
    destination: { ledger: { recordPlan: async () => ({}) } },
    log: { info() {} },
    progressed: vi.fn(),
    signal: new AbortController().signal,
  } as unknown as Attempt
  const facts = { rows: 1, bytes: 1, leaves: [] } as unknown as ScanFacts
  const request = { row: { append: true, plan: 0 }, fence: { uid: 'u', attempt: 1 }, discard: false }
  const { snapshot } = await makePlan(attempt, server, { facts, scan: 'Ctid' }, request as never)
  expect(order.slice(0, order.indexOf('BEGIN') + 1).slice(-2)).toEqual(['asked', 'BEGIN'])
  await snapshot?.release()
})
