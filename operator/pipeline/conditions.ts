import type { Component, GapReason, PartReason, PipelineConditionType, ReadyReason } from '../../crds/api.ts'
import type { Pipeline, Problem } from '../../crds/pipeline.ts'
import type { NewCondition } from '../conditions.ts'
import { tableKey } from '../context.ts'
import type { WorkloadState } from '../pods/problems.ts'
import { tableGaps } from './gaps.ts'
import type { TableView } from './tables.ts'

export interface ConditionFacts {
  readonly pipeline: Pipeline
  readonly capture: WorkloadState
  readonly apply: WorkloadState
  readonly tables: readonly TableView[]
  /** Why the operator could not make what belongs to the Pipeline. */
  readonly trouble: string | undefined
  /** What deleting it waits for; undefined while it is not being deleted. */
  readonly deleting: string | undefined
}

/** The parts, each with the worker that knows about it, in the order in which they must work. */
const PARTS = [
  { component: 'Source', type: 'SourceReady', reason: 'SourceNotReady', worker: 'capture' },
  { component: 'Slot', type: 'SlotReady', reason: 'SlotNotReady', worker: 'capture' },
  { component: 'Queue', type: 'QueueReady', reason: 'QueueNotReady', worker: 'capture' },
  { component: 'Destination', type: 'DestinationReady', reason: 'DestinationNotReady', worker: 'apply' },
] as const satisfies readonly {
  component: Component
  type: PipelineConditionType
  reason: ReadyReason
  worker: 'capture' | 'apply'
}[]

/** All conditions of a Pipeline, `Ready` first. */
export function pipelineConditions(facts: ConditionFacts): NewCondition[] {
  const parts = PARTS.map((part) => ({ part, condition: partCondition(facts, part) }))
  return [readyCondition(facts, parts), ...parts.map(({ condition }) => condition), gapCondition(facts)]
}

/** Tables that a message names one by one. */
const MOST_NAMED = 20

/** Whether changes of some table were lost, and what becomes of it by `spec.onGap`. */
function gapCondition({ pipeline, tables }: ConditionFacts): NewCondition {
  const condition = (status: NewCondition['status'], reason: string, message: string) =>
    ({ type: 'GapFree' satisfies PipelineConditionType, status, reason, message }) as const
  const reported = pipeline.status?.apply?.tables
  if (!reported) return condition('Unknown', 'NotReported' satisfies PartReason, 'apply has not reported yet')
  const gaps = tableGaps(pipeline)
  const hit = tables.flatMap(({ status }) => {
    const gap = gaps.get(tableKey(status))
    return gap ? [{ status, gap }] : []
  })
  const [first] = hit
  if (!first) return condition('True', 'NoGap' satisfies GapReason, '')
  const shown = hit.slice(0, MOST_NAMED).map(({ status, gap: { code, message } }) => {
    return `${status.schema}.${status.name}: ${code}${message ? `: ${message}` : ''}`
  })
  const more = hit.length > shown.length ? `; and ${hit.length - shown.length} more` : ''
  const policy =
    pipeline.spec.onGap === 'Backfill'
      ? 'spec.onGap is Backfill: they are emptied and copied again'
      : 'spec.onGap is Halt: create a TableBackfill with destinationTable Truncate or Drop for each'
  return condition(
    'False',
    hit.find(({ gap }) => gap.code !== 'ChangesLost')?.gap.code ?? first.gap.code,
    `${shown.join('; ')}${more}. ${policy}`,
  )
}

type Part = (typeof PARTS)[number]

function partCondition(facts: ConditionFacts, { component, type, worker }: Part): NewCondition {
  const { pipeline } = facts
  const problem = problemsOf(pipeline).find((one) => one.component === component && one.table === undefined)
  if (problem) return { type, status: 'False', reason: problem.code, message: problem.message }
  const state = facts[worker]
  if (!state.wanted) {
    const message = `${worker} does not run, because spec.state is ${pipeline.spec.state}`
    return { type, status: 'Unknown', reason: 'Stopped', message }
  }
  const reported = pipeline.status?.[worker] !== undefined
  if (reported && state.ready) return { type, status: 'True', reason: 'Connected', message: '' }
  const message = state.problem ?? (reported ? waitsFor(facts, worker) : `${worker} has not reported yet`)
  return { type, status: 'Unknown', reason: 'NotReported', message }
}

/** A worker that cannot get past one part says nothing about the others. */
function waitsFor({ pipeline }: ConditionFacts, worker: Part['worker']): string {
  const mine = pipeline.status?.[worker]?.problems?.find(
    (problem) => problem.table === undefined && problem.component !== 'Table',
  )
  return mine ? `${worker} cannot go on: see ${mine.component}Ready` : `${worker} is not ready`
}

function readyCondition(
  facts: ConditionFacts,
  parts: readonly { readonly part: Part; readonly condition: NewCondition }[],
): NewCondition {
  const ready = (status: NewCondition['status'], reason: ReadyReason, message: string): NewCondition => ({
    type: 'Ready',
    status,
    reason,
    message,
  })
  const { pipeline, tables } = facts
  const { state } = pipeline.spec
  if (facts.deleting !== undefined) return ready('False', 'Deleting', facts.deleting)
  if (facts.trouble !== undefined) return ready('False', 'WorkersNotReady', facts.trouble)
  if (state === 'Stopped') {
    return ready(
      'False',
      'Stopped',
      'spec.state is Stopped: the slot stays and the source keeps its log for it',
    )
  }
  const failed = tables.filter((table) => table.failed)
  // Tables that have failed by themselves are named whatever else is wrong: they will not recover with it.
  const also = failed.length > 0 ? `; and apart from that: ${failedMessage(failed)}` : ''
  const broken = parts.find(({ condition }) => condition.status === 'False')
  if (broken) return ready('False', broken.part.reason, `${broken.condition.message}${also}`)
  if (state === 'Paused') {
    return ready(
      'False',
      'Paused',
      'spec.state is Paused: changes are captured into the queue, nothing is applied',
    )
  }
  const unknown = parts.find(({ condition }) => condition.status === 'Unknown')
  if (unknown) {
    const begun = pipeline.status?.capture !== undefined && pipeline.status.apply !== undefined
    const stuck = facts.capture.problem ?? facts.apply.problem
    return ready(
      'False',
      begun || stuck ? 'WorkersNotReady' : 'Starting',
      `${stuck ?? unknown.condition.message}${also}`,
    )
  }
  if (failed.length > 0) return ready('False', 'TablesFailed', failedMessage(failed))
  const unsettled = tables.filter((table) => !table.settled)
  if (unsettled.length > 0) {
    return ready('False', 'Backfilling', `${unsettled.length} of ${tables.length} tables do not stream yet`)
  }
  if (tables.length === 0) return ready('True', 'Streaming', 'spec.tables is empty: add tables to replicate')
  return ready(
    'True',
    'Streaming',
    `${tables.length === 1 ? 'the table streams' : `all ${tables.length} tables stream`}`,
  )
}

function failedMessage(failed: readonly TableView[]): string {
  const shown = failed
    .slice(0, MOST_NAMED)
    .map(({ status }) => `${status.schema}.${status.name}: ${status.message ?? 'stopped'}`)
  const more = failed.length > shown.length ? `; and ${failed.length - shown.length} more` : ''
  return `${shown.join('; ')}${more}`
}

export function problemsOf({ status }: Pipeline): Problem[] {
  return [...(status?.capture?.problems ?? []), ...(status?.apply?.problems ?? [])]
}
