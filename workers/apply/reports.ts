import type { ApplyState } from '../../crds/api.ts'
import type { AppliedTable, ApplyStatus, Problem } from '../../crds/pipeline.ts'
import type { QueueStatus } from '../../crds/table-backfill.ts'
import type { MillraceError } from '../../lib/errors.ts'
import type { LedgerBackfill } from '../destination/ledger.ts'
import { cutMessage, toProblem } from '../runtime/problems.ts'
import { formatLSN } from '../source/lsn.ts'
import { tableLabel } from '../source/table.ts'
import { hasGap } from './facts.ts'
import { lagSeconds, type TableState } from './state.ts'

/** A failure that passed at once is not worth a person's attention. */
const FAILURES_BEFORE_REPORT = 2

/** What `status.apply.tables` says about a table; undefined when there is nothing to say yet. */
export function appliedTable(state: TableState, now: number): AppliedTable | undefined {
  const { table, row } = state
  const names = { schema: table.schema, name: table.name }
  const error = reportable(state)
  if (!row) {
    if (error) return { ...names, state: 'Failed', code: error.code, message: cutMessage(error.message) }
    const { waiting: message } = state
    return message === undefined
      ? undefined
      : { ...names, state: 'Failed', code: 'DestinationUnavailable', message }
  }
  const lag = lagSeconds(state, now)
  const unfit = state.unfit.report()
  return {
    ...names,
    ...describe(state, error),
    ...(lag !== undefined && { lagSeconds: roundLag(lag) }),
    ...(row.position.epoch > 0 && { epoch: row.position.epoch }),
    ...(row.needsEmptying && { needsEmptying: true }),
    ...(hasGap(row) && row.stopCode !== '' && { gap: row.stopCode }),
    historyComplete: row.historyComplete,
    ...(unfit && { unfit }),
  }
}

function describe(
  state: TableState,
  error: MillraceError | undefined,
): { state: ApplyState; code?: string; message?: string } {
  const { row, paused, waiting } = state
  if (error) return { state: 'Failed', code: error.code, message: cutMessage(error.message) }
  const why = row && row.stopCode !== '' && { code: row.stopCode, message: cutMessage(row.stopMessage) }
  if (row?.state === 'stopped' && !row.heldBy && !paused) return { state: 'Stopped', ...why }
  return {
    state: row?.heldBy ? 'Held' : paused ? 'Paused' : 'Streaming',
    ...(row && hasGap(row) && why),
    ...(waiting !== undefined && { message: waiting }),
  }
}

function reportable({ error, failures }: TableState): MillraceError | undefined {
  if (!error) return undefined
  return error.retryable && failures < FAILURES_BEFORE_REPORT ? undefined : error
}

/**
 * `status.apply`: each problem once, however many tables it has hit.
 *
 * @param before tables as an earlier process has reported them, while this one has not read the ledger: what was lost stays lost
 */
export function applyStatus(
  states: Iterable<TableState>,
  general: readonly MillraceError[],
  now: number,
  before: readonly AppliedTable[] = [],
): ApplyStatus {
  const all = [...states].sort((a, b) => (a.label < b.label ? -1 : 1))
  const problems = new Map<string, Problem>()
  const add = (problem: Problem) => {
    const { table: _, ...shared } = problem
    const told = problem.component === 'Table' ? problem : shared
    problems.set(JSON.stringify(told), told)
  }
  for (const error of general) add(toProblem(error))
  for (const state of all) {
    const error = reportable(state)
    if (error) add(toProblem(error, { table: state.table }))
  }
  const known = new Set(all.map(({ label }) => label))
  const tables = [
    ...before.filter((table) => !known.has(tableLabel(table))),
    ...all.flatMap((state) => appliedTable(state, now) ?? []),
  ]
  return { tables, ...(problems.size > 0 && { problems: [...problems.values()].slice(0, 1000) }) }
}

/** How far a backfill has come. */
const RANKS = { None: 0, Held: 1, Copied: 2, Closed: 3, Drained: 3 } as const

const QUEUE_STATES = { held: 'Held', copied: 'Copied', closed: 'Closed', drained: 'Drained' } as const

/**
 * `status.queue` of a TableBackfill: a fact of the ledger (rule R5).
 *
 * @param before what stands there now
 * @param since when the backfill was first seen in this state
 */
export function queueStatus(
  backfill: LedgerBackfill,
  state: TableState | undefined,
  before: QueueStatus | undefined,
  { now, since }: { now: number; since: number },
): QueueStatus {
  const of = QUEUE_STATES[backfill.state]
  const isOver = of === 'Closed' || of === 'Drained'
  // What is over does not change any more, though its table goes on.
  if (isOver && before?.state === of) return before
  if (before && isBehind(of, before)) return before
  const lag = state && !isOver ? lagSeconds(state, now) : undefined
  const error = state && !isOver ? reportable(state) : undefined
  const closing = of === 'Closed' ? { code: backfill.closeCode, message: backfill.closeMessage } : undefined
  const said = closing ?? error
  return {
    state: of,
    ...(backfill.holdLSN > 0n && { heldLSN: formatLSN(backfill.holdLSN) }),
    ...(lag !== undefined && { lagSeconds: roundLag(lag) }),
    ...(of === 'Drained' && { drainedTime: new Date(since).toISOString() }),
    ...(state?.row && { historyComplete: state.row.historyComplete }),
    ...(said?.code && { code: said.code }),
    ...(said?.message && { message: cutMessage(said.message) }),
  }
}

/**
 * Two of this process may run for a moment, one of which has read the ledger before the other has moved it: what it has to say is
 * old, and would show a backfill that goes back.
 */
function isBehind(state: QueueStatus['state'], before: QueueStatus): boolean {
  return RANKS[state] < RANKS[before.state]
}

/**
 * For a backfill that the ledger does not know yet: what keeps its table from coming to the hold. Undefined when nothing
 * does and nothing was said before.
 */
export function pendingStatus(
  state: TableState | undefined,
  before: QueueStatus | undefined,
): QueueStatus | undefined {
  if (before && isBehind('None', before)) return undefined
  const error = state && reportable(state)
  if (error) return { state: 'None', code: error.code, message: cutMessage(error.message) }
  return before && { state: 'None' }
}

/** Coarser the larger it is, so that a status is not written again for every second. */
function roundLag(seconds: number): number {
  if (seconds < 5) return 0
  const step = seconds < 60 ? 5 : seconds < 600 ? 30 : 300
  return Math.round(seconds / step) * step
}
