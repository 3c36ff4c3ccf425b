import { pino } from 'pino'
import { afterEach, expect, it, vi } from 'vitest'
import type { RedshiftDestination } from '../../../crds/redshift.ts'
import { openRedshiftDestination } from './destination.ts'

const HOUR = 3_600_000
const signal = new AbortController().signal

afterEach(() => {
  vi.useRealTimers()
})

it('sends nothing by itself: no timer of a destination leads to a statement', async () => {
  vi.useFakeTimers()
  const calls: string[] = []
  const answer = { $metadata: {}, Id: 'a', Status: 'FINISHED', HasResultSet: true, Records: [] }
  const called = (name: string) => async () => {
    calls.push(name)
    return answer as never
  }
  const destination = openRedshiftDestination({
    destination: {
      region: 'eu-central-1',
      workgroupName: 'w',
      database: 'dev',
      s3: { bucket: 'b', prefix: '' },
      onUnfit: 'Truncate',
      ledgerSchema: 'millrace',
    } as RedshiftDestination,
    pipelineUid: 'p',
    pipelineLabel: 'ns/p',
    secrets: { read: async () => '' },
    process: 'apply',
    log: pino({ level: 'silent' }),
    wrap: () => ({
      execute: called('execute'),
      batch: called('batch'),
      describe: called('describe'),
      result: called('result'),
      cancel: called('cancel'),
      close: () => {},
    }),
  })
  const looking = destination.inspectTable({ schema: 'public', name: 't' }, signal)
  await vi.advanceTimersByTimeAsync(10_000)
  expect((await looking).exists).toBe(false)
  expect(calls).toContain('execute')
  calls.length = 0
  await vi.advanceTimersByTimeAsync(HOUR)
  expect(calls).toEqual([])
  expect(vi.getTimerCount()).toBe(0)
  await destination.close()
})
