import { describe, expect, it } from 'vitest'
import type { Pipeline } from '../../crds/pipeline.ts'
import type { TableBackfill, TableBackfillStatus } from '../../crds/table-backfill.ts'
import { candidateOf } from './candidates.ts'
import type { JobFacts } from './facts.ts'

const pipeline = {
  metadata: { name: 'shop', namespace: 'n', uid: 'p' },
  spec: { state: 'Running', tables: [{ schema: 'public', name: 'orders' }] },
} as unknown as Pipeline

const running: JobFacts = {
  suspended: false,
  deleting: false,
  active: true,
  complete: false,
  failed: undefined,
  failures: 0,
  cleanedUpAfter: undefined,
  outdated: false,
}

function stateOf(status: TableBackfillStatus, job: Partial<JobFacts> = {}): string {
  const backfill = {
    metadata: {
      name: 'b',
      namespace: 'n',
      uid: 'u',
      generation: 1,
      creationTimestamp: '2026-11-22T10:00:00Z',
    },
    spec: {
      pipelineRef: { name: 'shop' },
      table: { schema: 'public', name: 'orders' },
      suspend: false,
      cancel: false,
    },
    status,
  } as unknown as TableBackfill
  const { state, ownsTable } = candidateOf(backfill, pipeline, { ...running, ...job })
  return `${state}, ${ownsTable ? 'owns the table' : 'leaves the table'}`
}

describe('a backfill whose pod still runs', () => {
  it('has a place while it copies', () => {
    expect(stateOf({ phase: 'Backfilling', queue: { state: 'Held' } })).toBe('running, owns the table')
  })

  it('has none while it drains (rule R9)', () => {
    expect(stateOf({ phase: 'Draining', queue: { state: 'Copied' } })).toBe('apart, leaves the table')
  })

  it('keeps it until its status says that it drains, so that nobody counts more than the limit', () => {
    expect(stateOf({ phase: 'Backfilling', queue: { state: 'Copied' } })).toBe('running, owns the table')
    expect(
      stateOf({ phase: 'Backfilling', queue: { state: 'Held' } }, { active: false, complete: true }),
    ).toBe('running, owns the table')
  })

  it('keeps it also when its status is so late that it was never seen working: it may yet say so', () => {
    const place = 'running, owns the table'
    expect(stateOf({ phase: 'Queued', queue: { state: 'Copied' } })).toBe(place)
    expect(stateOf({ queue: { state: 'Drained' } })).toBe(place)
    const failed = { active: false, failed: { reason: 'BackoffLimitExceeded', message: '' } }
    expect(stateOf({ phase: 'Queued' }, failed)).toBe(place)
    expect(stateOf({ phase: 'Failed' }, failed)).toBe('apart, leaves the table')
    expect(stateOf({ phase: 'Streaming', queue: { state: 'Drained' } })).toBe('apart, leaves the table')
  })
})

describe('a backfill that apply has closed', () => {
  it('keeps its place until its status says so', () => {
    expect(stateOf({ phase: 'Preparing', queue: { state: 'Closed' } }, { active: false })).toBe(
      'running, owns the table',
    )
    expect(stateOf({ phase: 'Failed', queue: { state: 'Closed' } }, { active: false })).toBe(
      'apart, leaves the table',
    )
  })
})
