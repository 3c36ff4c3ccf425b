import type { TableState } from '../../crds/api.ts'
import type {
  AppliedTable,
  Pipeline,
  PipelineCounts,
  PipelineTable,
  TableStatus,
} from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { isTerminal, isVerification } from '../backfill/facts.ts'
import { cut } from '../conditions.ts'
import { tableKey } from '../context.ts'
import { type TableGap, tableGaps } from './gaps.ts'
import { REPORT_GRACE, tableProblems } from './plan-backfills.ts'

/** A table as status shows it, and whether it keeps the Pipeline from being ready. */
export interface TableView {
  readonly status: TableStatus
  /** It streams, or did until an ad-hoc backfill began. */
  readonly settled: boolean
  /** Its history is incomplete because a backfill failed, or it is stopped. */
  readonly failed: boolean
}

/**
 * Where each table of the spec stands, in the order of the spec.
 *
 * @param now milliseconds since 1970
 */
export function tableViews(
  pipeline: Pipeline,
  backfills: readonly TableBackfill[],
  initial: ReadonlyMap<string, string>,
  now: number,
): TableView[] {
  const applied = new Map(pipeline.status?.apply?.tables?.map((table) => [tableKey(table), table]))
  const problems = new Map(
    tableProblems(pipeline).flatMap((problem) => (problem.table ? [[tableKey(problem.table), problem]] : [])),
  )
  const copies = backfills.filter((backfill) => !isVerification(backfill))
  const gaps = tableGaps(pipeline)
  const ofTable = Map.groupBy(copies, (backfill) => tableKey(backfill.spec.table))
  return pipeline.spec.tables.map((table) => {
    const key = tableKey(table)
    const known = applied.get(key)
    const own = (ofTable.get(key) ?? []).toSorted(byCreation)
    const latest = own.at(-1)
    const active = own.findLast((one) => !isTerminal(one.status?.phase) && one.status?.phase !== 'Queued')
    const current = active ?? own.find((one) => !isTerminal(one.status?.phase)) ?? latest
    const problem = problems.get(key)
    const gap = gaps.get(key)
    const { state, message, failed } = stateOf(pipeline, table, known, problem?.message, current, gap, now)
    const wrong = problem?.code ?? known?.code ?? gap?.code
    const { historyComplete } = known ?? {}
    const made = initial.get(key)
    const going = state === 'Backfilling' || state === 'Queued' || state === 'Draining'
    return {
      settled: state === 'Streaming' || (going && historyComplete === true),
      failed,
      status: {
        schema: table.schema,
        name: table.name,
        state,
        ...(wrong !== undefined && { code: wrong }),
        ...(message !== undefined && { message: cut(message, 4_000) }),
        ...(historyComplete !== undefined && { historyComplete }),
        ...(latest && { backfill: latest.metadata.name }),
        ...(made !== undefined && { initialBackfill: made }),
      },
    }
  })
}

interface Stand {
  readonly state: TableState
  readonly message: string | undefined
  readonly failed: boolean
}

const LOST = 'changes were lost, so rows may be wrong'

function stateOf(
  pipeline: Pipeline,
  table: PipelineTable,
  known: AppliedTable | undefined,
  problem: string | undefined,
  backfill: TableBackfill | undefined,
  gap: TableGap | undefined,
  now: number,
): Stand {
  const stand = (state: TableState, message?: string, failed = false): Stand => ({ state, message, failed })
  const { state } = pipeline.spec
  const phase = backfill?.status?.phase ?? (backfill ? 'Queued' : undefined)
  const about = backfill && `${backfill.metadata.name}: ${backfill.status?.message ?? 'new'}`
  if (state !== 'Running') {
    const why = gap && `; ${gap.message ?? LOST}`
    return stand('Paused', `spec.state is ${state}${why ?? ''}`)
  }
  if (problem !== undefined) return stand('Failed', problem, true)
  // A backfill under way may be what mends a stopped table, so it comes before that; one that drains cannot be.
  if (phase === 'Queued') return stand('Queued', about)
  if (phase === 'Preparing' || phase === 'Backfilling') return stand('Backfilling', about)
  const stopped = known?.state === 'Stopped' || known?.state === 'Failed'
  if (phase === 'Draining' && !stopped) return stand('Draining', about)
  if (!known) return stand('Pending', pendingMessage(pipeline, table))
  if (stopped) {
    return stand('Failed', known.message ?? known.code ?? 'stopped', true)
  }
  const justEnded = now - Date.parse(backfill?.status?.completionTime ?? '') < REPORT_GRACE
  if (known.state === 'Held') {
    if (justEnded) return stand('Draining', about)
    const why =
      'apply holds it for a backfill that is not under way, so nothing is applied until the hold ends'
    return stand('Failed', about === undefined ? why : `${why}; ${about}`, true)
  }
  if (known.state === 'Paused') return stand('Paused', known.message)
  if (gap?.isAhead) return stand('Pending', `${gap.message ?? LOST}; apply has not come to it yet`)
  if (known.needsEmptying === true) {
    const why = known.message ?? LOST
    const cure = `${why}: create a TableBackfill with destinationTable Truncate or Drop`
    return pipeline.spec.onGap === 'Backfill' && phase !== 'Failed' && phase !== 'Cancelled'
      ? stand('Pending', `${why}; its backfill is about to be created`)
      : stand('Streaming', about && phase !== 'Streaming' ? `${cure}; ${about}` : cure, true)
  }
  if (known.historyComplete === false) {
    if (phase === 'Failed') return stand('Streaming', `history incomplete; ${about}`, true)
    if (phase === 'Cancelled') return stand('Streaming', `history incomplete; ${about}`)
    if (table.initialBackfill === 'Enabled' && !backfill) {
      return stand('Pending', 'its backfill is about to be created')
    }
    if (table.initialBackfill === 'Enabled' && phase === 'Streaming') {
      if (justEnded) return stand('Draining', about)
      return stand('Pending', `apply knows of no copy of it, although there was one; ${about}`)
    }
  }
  return stand('Streaming', known.message)
}

function pendingMessage({ status }: Pipeline, table: PipelineTable): string {
  const published = status?.capture?.tables?.some((one) => tableKey(one) === tableKey(table))
  return published ? 'waiting for apply to take it on' : 'waiting for capture to add it to the publication'
}

function byCreation(a: TableBackfill, b: TableBackfill): number {
  const [left, right] = [a, b].map((one) => `${one.metadata.creationTimestamp} ${one.metadata.name}`)
  return (left ?? '') < (right ?? '') ? -1 : 1
}

export function countTables(views: readonly TableView[]): PipelineCounts {
  const count = (...states: TableState[]) => views.filter((view) => states.includes(view.status.state)).length
  return {
    tables: views.length,
    streaming: count('Streaming'),
    backfilling: count('Backfilling', 'Draining'),
    queued: count('Pending', 'Queued'),
    failed: count('Failed'),
  }
}

/** Steps in which lag is shown, seconds: fine enough for people, and a steady lag writes nothing. */
const LAG_STEPS = [0, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600]

/** Lag of the slowest table that streams: `2s`, `5m`, `3h`; undefined when none does. */
export function lagText(pipeline: Pipeline): string | undefined {
  const lags = (pipeline.status?.apply?.tables ?? []).flatMap(({ state, lagSeconds }) =>
    state === 'Streaming' && lagSeconds !== undefined ? [lagSeconds] : [],
  )
  if (lags.length === 0) return undefined
  const lag = Math.max(...lags)
  const step = lag < 7200 ? (LAG_STEPS.findLast((one) => one <= lag) ?? 0) : lag
  if (step < 60) return `${step}s`
  if (step < 3600) return `${Math.floor(step / 60)}m`
  return step < 172_800 ? `${Math.floor(step / 3600)}h` : `${Math.floor(step / 86_400)}d`
}
