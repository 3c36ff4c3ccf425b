import { describe, expect, it } from 'vitest'
import type { TableBackfill, TableBackfillSpec, TableBackfillStatus } from '../../crds/table-backfill.ts'
import type { BackfillFacts, JobFacts, PipelineFacts } from './facts.ts'
import { derivePhase } from './phase.ts'

const running: PipelineFacts = { state: 'Running', deleting: false, listed: true }
const job: JobFacts = {
  suspended: false,
  deleting: false,
  active: true,
  complete: false,
  failed: undefined,
  failures: 0,
  cleanedUpAfter: undefined,
  outdated: false,
}
const startTime = '2026-11-22T10:00:00Z'
const held = { startTime, queue: { state: 'Held' } } as const

interface Given {
  spec?: Partial<TableBackfillSpec>
  status?: TableBackfillStatus
  pipeline?: Partial<PipelineFacts> | 'none'
  job?: Partial<JobFacts>
  place?: BackfillFacts['place']
  podProblem?: string
  podFailed?: boolean
}

function derive(given: Given) {
  const backfill: TableBackfill = {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'TableBackfill',
    metadata: { name: 'b', namespace: 'n', uid: 'u', generation: 1, creationTimestamp: startTime },
    spec: {
      pipelineRef: { name: 'shop' },
      table: { schema: 'public', name: 'orders' },
      destinationTable: 'DoNothing',
      backfill: {},
      backoffLimit: 3,
      suspend: false,
      cancel: false,
      ...given.spec,
    },
    ...(given.status && { status: given.status }),
  }
  const outcome = derivePhase({
    backfill,
    pipeline: given.pipeline === 'none' ? undefined : { ...running, ...given.pipeline },
    job: given.job && { ...job, ...given.job },
    place: given.place,
    podProblem: given.podProblem,
    podFailed: given.podFailed ?? false,
  })
  return (
    outcome && [`${outcome.phase} ${outcome.succeeded} ${outcome.reason} ${outcome.job}`, outcome.message]
  )
}

const failedJob = { active: false, failed: { reason: 'BackoffLimitExceeded', message: 'x' }, failures: 4 }
const badInput = {
  active: false,
  failed: { reason: 'PodFailurePolicy', message: 'exit code 2' },
  failures: 1,
}
const copyFailed = { failed: { code: 'TableNotFound', message: 'no table orders', retryable: false } }

describe('derivePhase', () => {
  it.each<[string, Given, string, string | RegExp]>([
    // the way that all goes well
    [
      'a place in the line',
      { place: { position: 3, behind: undefined } },
      'Queued Unknown Queued keep',
      'waiting at position 3 of the queue',
    ],
    [
      'another of its table',
      { place: { position: 1, behind: 'a' } },
      'Queued Unknown Queued keep',
      /TableBackfill a of the same table has to end first/,
    ],
    ['its turn', {}, 'Queued Unknown Queued keep', 'starting'],
    ['a Job', { job: {} }, 'Preparing Unknown Preparing keep', 'waiting for its pod to start'],
    [
      'a pod that says something',
      { job: {}, status: { copy: { message: 'waits for pid 7' } } },
      'Preparing Unknown Preparing keep',
      'waits for pid 7',
    ],
    [
      'a stage',
      { job: {}, status: { copy: { stage: 'Holding' } } },
      'Preparing Unknown Preparing keep',
      /come to the hold/,
    ],
    [
      'a held table',
      { job: {}, status: held },
      'Backfilling Unknown Backfilling keep',
      'waiting for its pod to start',
    ],
    [
      'a held table, after an apply that was replaced has had its say',
      { job: {}, status: { queue: { state: 'None' }, phase: 'Backfilling' } },
      'Backfilling Unknown Backfilling keep',
      'waiting for its pod to start',
    ],
    [
      'a second attempt',
      { job: { failures: 1 }, status: { ...held, copy: { stage: 'Copying' } } },
      'Backfilling Unknown Backfilling keep',
      'attempt 2: copying',
    ],
    [
      'a copy',
      { job: {}, status: { ...held, copy: { stage: 'Done' } } },
      'Draining Unknown Draining keep',
      /^copied/,
    ],
    [
      'a copy, after a pod that was cut off has had its say',
      { job: {}, status: { ...held, phase: 'Draining', copy: { stage: 'Copying' } } },
      'Draining Unknown Draining keep',
      /^copied/,
    ],
    [
      'a copy that only the ledger knows of',
      { job: {}, status: { queue: { state: 'Copied', message: '12 s behind' } } },
      'Draining Unknown Draining keep',
      '12 s behind',
    ],
    [
      'a complete Job',
      { job: { complete: true, active: false }, status: held },
      'Draining Unknown Draining keep',
      /^copied/,
    ],
    [
      'a drained table',
      { status: { queue: { state: 'Drained' } } },
      'Streaming True Drained keep',
      /streams/,
    ],
    // attempts
    [
      'a failed attempt',
      { job: { failures: 1 }, podFailed: true, status: { copy: copyFailed } },
      'Preparing Unknown Preparing keep',
      'attempt 1 failed, another follows: no table orders',
    ],
    [
      'an attempt that said nothing',
      { job: { failures: 2 }, podFailed: true, podProblem: 'pod x was killed for lack of memory' },
      'Preparing Unknown Preparing keep',
      'attempt 2 failed, another follows: pod x was killed for lack of memory',
    ],
    [
      'a failed attempt and pods mended meanwhile',
      { job: { failures: 1, outdated: true }, podFailed: true, status: held },
      'Backfilling Unknown Backfilling delete',
      /^starting anew/,
    ],
    [
      'a pod that works, though not as the Pipeline says today',
      { job: { outdated: true }, status: held },
      'Backfilling Unknown Backfilling keep',
      'waiting for its pod to start',
    ],
    // what keeps it from going on
    [
      'no Pipeline',
      { pipeline: 'none' },
      'Queued Unknown PipelineNotFound keep',
      /^spec.pipelineRef.name: there is no Pipeline "shop"/,
    ],
    [
      'a Pipeline without the table',
      { pipeline: { listed: false } },
      'Queued Unknown TableNotInPipeline keep',
      /^spec.table: public.orders is not in spec.tables of Pipeline shop/,
    ],
    [
      'a pod that cannot run',
      { job: {}, podProblem: 'image x cannot be pulled' },
      'Preparing Unknown Preparing keep',
      'image x cannot be pulled',
    ],
    [
      'suspend before it began',
      { spec: { suspend: true } },
      'Queued Unknown Suspended keep',
      'suspended, because spec.suspend is true',
    ],
    [
      'suspend while it holds',
      { spec: { suspend: true }, job: {}, status: held },
      'Backfilling Unknown Suspended suspend',
      /stays held/,
    ],
    [
      'a paused Pipeline',
      { pipeline: { state: 'Paused' }, job: {} },
      'Preparing Unknown Suspended suspend',
      /spec.state of the Pipeline is Paused/,
    ],
    [
      'a suspended Job that may go on',
      { job: { suspended: true }, status: held, place: { position: 1, behind: undefined } },
      'Backfilling Unknown Backfilling keep',
      'waiting to go on at position 1 of the queue',
    ],
    [
      'a suspended Job that the schedule has not looked at yet',
      { job: { suspended: true } },
      'Preparing Unknown Preparing keep',
      'waiting to go on',
    ],
    // ends
    [
      'a cancel in the line',
      { spec: { cancel: true }, place: { position: 1, behind: undefined } },
      'Cancelled False Cancelled delete',
      'cancelled before it began',
    ],
    [
      'a cancel with a Job',
      { spec: { cancel: true }, job: {}, status: { ...held, phase: 'Backfilling' } },
      'Backfilling Unknown Cancelled delete',
      /until its pod has ended/,
    ],
    [
      'a cancel that apply has not seen',
      { spec: { cancel: true }, status: { ...held, phase: 'Backfilling' } },
      'Backfilling Unknown Cancelled delete',
      /until apply has ended the hold/,
    ],
    [
      'a cancel while nothing is applied',
      { spec: { cancel: true }, status: held, pipeline: { state: 'Paused' } },
      'Cancelled False Cancelled delete',
      /incomplete/,
    ],
    [
      'a cancel that apply has seen',
      { spec: { cancel: true }, status: { startTime, queue: { state: 'Closed' } } },
      'Cancelled False Cancelled delete',
      /incomplete/,
    ],
    [
      'a cancel of a complete table',
      { spec: { cancel: true }, status: { startTime, queue: { state: 'Closed', historyComplete: true } } },
      'Cancelled False Cancelled delete',
      /complete, as before/,
    ],
    [
      'a cancel after the copy',
      { spec: { cancel: true }, job: {}, status: { ...held, copy: { stage: 'Done' } } },
      'Draining Unknown Draining keep',
      /^copied/,
    ],
    [
      'a Pipeline that goes',
      { pipeline: { deleting: true }, job: {}, status: held },
      'Queued Unknown Cancelled delete',
      /until its pod has ended/,
    ],
    [
      'a Pipeline that went',
      { pipeline: 'none', status: held },
      'Cancelled False PipelineGone delete',
      /its Pipeline was deleted/,
    ],
    [
      'a Pipeline that goes while it drains',
      { pipeline: { deleting: true }, status: { queue: { state: 'Copied' } } },
      'Cancelled False PipelineGone delete',
      /before the changes/,
    ],
    [
      'a table that was removed',
      { pipeline: { listed: false }, status: { startTime } },
      'Cancelled False TableNotInPipeline delete',
      /removed from spec.tables/,
    ],
    [
      'a Job that gave up',
      { job: failedJob, status: { copy: copyFailed } },
      'Failed False BackoffLimitExceeded keep',
      'gave up after 4 failed attempts; the last: no table orders',
    ],
    [
      'a Job with wrong input',
      { job: badInput, status: { copy: copyFailed } },
      'Failed False InvalidInput keep',
      /^no table orders; create another/,
    ],
    [
      'a Job that gave up after the copy',
      { job: failedJob, status: { queue: { state: 'Copied' } } },
      'Draining Unknown Draining keep',
      /^copied/,
    ],
    [
      'a gap',
      { job: {}, status: { startTime, queue: { state: 'Closed', code: 'SlotLost', message: 'slot gone' } } },
      'Failed False GapInQueue delete',
      'slot gone',
    ],
    [
      'a gap between the copy and its draining',
      {
        job: { complete: true },
        status: { startTime, copy: { stage: 'Done' }, queue: { state: 'Closed', code: 'QueueLost' } },
      },
      'Failed False GapInQueue delete',
      /QueueLost/,
    ],
    [
      'a stopped table',
      { job: {}, status: { startTime, queue: { state: 'Closed', code: 'TableChanged' } } },
      'Failed False TableStopped delete',
      /TableChanged/,
    ],
    [
      'a Job that completed after it was closed',
      { job: { complete: true }, status: { startTime, queue: { state: 'Closed' } } },
      'Failed False TableStopped delete',
      /no reason given/,
    ],
  ])('with %s', (_, given, state, message) => {
    const outcome = derive(given)
    expect(outcome?.[0]).toBe(state)
    if (typeof message === 'string') expect(outcome?.[1]).toBe(message)
    else expect(outcome?.[1]).toMatch(message)
  })

  it.each<[string, Given, string, RegExp]>([
    ['waiting', { place: { position: 1, behind: 'other' } }, 'Queued Unknown Queued keep', /position 1/],
    [
      'at work',
      { job: {}, status: { startTime, copy: { stage: 'Verifying' } } },
      'Verifying Unknown Verifying keep',
      /^comparing with the source$/,
    ],
    [
      'nothing found',
      { job: { complete: true }, status: { startTime, verify: { result: 'Equal', rowsCompared: 7 } } },
      'Verified True Equal keep',
      /^7 rows compared, none differs$/,
    ],
    [
      'something found',
      {
        job: {},
        status: {
          startTime,
          verify: {
            result: 'Different',
            rowsCompared: 7,
            rowsDifferent: 1,
            rowsUndecided: 2,
            examples: [{ key: '4', kind: 'Missing' }],
          },
        },
      },
      'Verified False Different keep',
      /^1 of 7 rows differ, such as 4 \(Missing\); 2 rows changed too often/,
    ],
    [
      'cancelled at work',
      { job: {}, spec: { cancel: true } },
      'Verifying Unknown Cancelled delete',
      /waiting/,
    ],
    ['cancelled', { spec: { cancel: true } }, 'Cancelled False Cancelled delete', /nothing was changed/],
    ['given up', { job: failedJob }, 'Failed False BackoffLimitExceeded keep', /gave up after 4/],
    [
      'ended without a word',
      { job: { complete: true } },
      'Failed False BackoffLimitExceeded keep',
      /without telling/,
    ],
  ])('of a comparison: %s', (_, given, state, message) => {
    const outcome = derive({ ...given, spec: { verify: 'Only', ...given.spec } })
    expect(outcome?.[0]).toBe(state)
    expect(outcome?.[1]).toMatch(message)
  })

  it.each(['Streaming', 'Verified', 'Cancelled', 'Failed'] as const)('%s is final', (phase) => {
    expect(
      derive({ status: { phase, queue: { state: 'Drained' } }, job: failedJob, spec: { cancel: true } }),
    ).toBeUndefined()
  })
})
