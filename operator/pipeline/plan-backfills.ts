import type { DestinationAction } from '../../crds/api.ts'
import type { AppliedTable, Pipeline, PipelineTable, Problem } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { isTerminal, isVerification } from '../backfill/facts.ts'
import { tableKey } from '../context.ts'
import { classifyChild } from '../kube/desired.ts'
import { GAP, INITIAL } from '../labels.ts'
import { gapBackfillName, initialBackfillName } from '../names.ts'

/** Which TableBackfills the operator has to make or take away for a Pipeline. */
export interface BackfillPlan {
  readonly create: readonly PlannedBackfill[]
  /** Of tables that are not in the spec any more. */
  readonly remove: readonly TableBackfill[]
  /** By table: the initial backfill that it had, for the record in status (rule R25). */
  readonly initial: ReadonlyMap<string, string>
  /** Look again after so many milliseconds. */
  readonly again: number | undefined
}

export interface PlannedBackfill {
  readonly name: string
  readonly table: PipelineTable
  readonly action: DestinationAction
  readonly kind: 'initial' | 'gap'
}

export interface PlanInput {
  readonly pipeline: Pipeline
  /** All that refer to this Pipeline. */
  readonly backfills: readonly TableBackfill[]
  /** Tables that left the list since the last look, although they may be in it again. */
  readonly left: ReadonlySet<string>
  /** For how long apply has reported a table, milliseconds. */
  readonly reportedFor: (table: string) => number
  /** Milliseconds since 1970. */
  readonly now: number
}

/**
 * How long a table that has joined waits for those before it in the list to join too, so that they are backfilled in the
 * order of the list. A table that never joins must not hold up the others for ever.
 */
const ORDER_GRACE = 10_000

/** How long after the end of a backfill apply may still report what was before it, milliseconds. */
export const REPORT_GRACE = 60_000

export function planBackfills(input: PlanInput): BackfillPlan {
  const { pipeline, backfills } = input
  const { spec, status } = pipeline
  const applied = byTable(status?.apply?.tables)
  const recorded = byTable(status?.tables)
  const broken = new Set(tableProblems(pipeline).map(({ table }) => table && tableKey(table)))
  const ofTable = Map.groupBy(backfills, (backfill) => tableKey(backfill.spec.table))
  const initial = new Map<string, string>()
  const create: PlannedBackfill[] = []
  let again: number | undefined
  const replaced: TableBackfill[] = []
  let othersMayJoin = false
  const lookAgain = (delay: number) => {
    again = Math.min(again ?? Number.POSITIVE_INFINITY, delay)
  }

  for (const table of spec.tables) {
    const key = tableKey(table)
    // What it had before belongs to another life of the table; a new backfill comes once that is gone.
    if (input.left.has(key)) {
      lookAgain(0)
      continue
    }
    const own = (ofTable.get(key) ?? []).filter((one) => classifyChild(one, pipeline) === 'ours')
    const known = applied.get(key)
    const made = own.find((one) => one.metadata.labels?.[INITIAL] === 'true')
    if (made && known?.needsEmptying === true && spec.onGap === 'Backfill' && isFutile(made)) {
      // Its removal is seen by the watch, and then one that empties the table is made in its place.
      replaced.push(made)
      continue
    }
    if (table.initialBackfill === 'Enabled' && !broken.has(key) && isIncomplete(known)) {
      const since = sinceCopied(ofTable.get(key) ?? [], input.now) ?? 0
      if (since > REPORT_GRACE) {
        // That copy is of another life of the table. What is recorded of it goes first, and then the table is a new one.
        if (made) replaced.push(made)
        else lookAgain(0)
        continue
      }
      if (since > 0) lookAgain(REPORT_GRACE - since + 1)
    }
    const record = made?.metadata.name ?? recorded.get(key)?.initialBackfill
    if (record !== undefined) initial.set(key, record)
    if (table.initialBackfill !== 'Enabled') continue
    if (record === undefined) {
      // Copying it would fail for the same reason.
      if (broken.has(key)) continue
      if (!known) {
        othersMayJoin = true
        continue
      }
      if (known.historyComplete !== false) continue
      if (known.needsEmptying === true && spec.onGap === 'Halt') continue
      const left = ORDER_GRACE - input.reportedFor(key)
      if (othersMayJoin && left > 0) {
        lookAgain(left)
        continue
      }
      const name = initialBackfillName(pipeline.metadata.name, table)
      create.push({ name, table, kind: 'initial', action: known.needsEmptying ? 'Truncate' : 'DoNothing' })
      initial.set(key, name)
    } else if (known?.needsEmptying === true && spec.onGap === 'Backfill') {
      const mending = planMending(input, table, ofTable.get(key) ?? [])
      if (typeof mending === 'number') lookAgain(mending)
      else if (mending) create.push(mending)
    }
  }

  const listed = new Set(spec.tables.map(tableKey))
  const remove = backfills.filter(
    (backfill) =>
      (!listed.has(tableKey(backfill.spec.table)) || input.left.has(tableKey(backfill.spec.table))) &&
      backfill.metadata.deletionTimestamp === undefined &&
      (backfill.metadata.labels?.[INITIAL] === 'true' || backfill.metadata.labels?.[GAP] === 'true') &&
      classifyChild(backfill, pipeline) === 'ours',
  )
  return { create, remove: [...remove, ...replaced], initial, again }
}

/**
 * A gap came between its creation and its hold: it would be refused for not emptying the table (rule R22). One that a person
 * has suspended or cancelled is left to that person.
 */
function isFutile({ spec, status, metadata }: TableBackfill): boolean {
  const { phase = 'Queued', queue } = status ?? {}
  const waits = phase === 'Queued' || phase === 'Preparing'
  const untouched = queue === undefined || queue.state === 'None'
  const wanted = !spec.suspend && !spec.cancel && metadata.deletionTimestamp === undefined
  return spec.destinationTable === 'DoNothing' && waits && untouched && wanted
}

/** The ledger knows of no copy of the table, and of no gap either, which has backfills of its own. */
function isIncomplete(known: AppliedTable | undefined): boolean {
  return known?.historyComplete === false && known.needsEmptying !== true
}

/**
 * For how long the last backfill of a table has been over with all its rows copied, milliseconds; undefined when it did not
 * end like that, or another one is not over. The ledger must say soon that the history is complete. If it does not, the
 * table was given free and taken on again since, unseen while the operator was away.
 */
function sinceCopied(backfills: readonly TableBackfill[], now: number): number | undefined {
  const copies = backfills.filter((backfill) => !isVerification(backfill))
  if (copies.some(({ status }) => !isTerminal(status?.phase))) return undefined
  const end = ({ status }: TableBackfill) => Date.parse(status?.completionTime ?? '') || 0
  const last = copies.toSorted((a, b) => end(a) - end(b)).at(-1)
  if (last?.status?.phase !== 'Streaming' || end(last) === 0) return undefined
  return Math.max(1, now - end(last))
}

/** The backfill that empties and copies a table again after a gap; or when to look again; or nothing to do. */
function planMending(
  { pipeline, now }: PlanInput,
  table: PipelineTable,
  backfills: readonly TableBackfill[],
): PlannedBackfill | number | undefined {
  const epoch = pipeline.status?.capture?.epoch ?? 0
  const emptying = backfills.filter((backfill) => backfill.spec.destinationTable !== 'DoNothing')
  if (emptying.some((backfill) => !isTerminal(backfill.status?.phase))) return undefined

  const completed = emptying.map((backfill) => Date.parse(backfill.status?.completionTime ?? '') || 0)
  const quiet = now - Math.max(0, ...completed)
  if (quiet < REPORT_GRACE) return REPORT_GRACE - quiet

  for (let round = 1; ; round += 1) {
    const name = gapBackfillName(pipeline.metadata.name, table, epoch, round)
    const before = backfills.find((backfill) => backfill.metadata.name === name)
    if (!before) return { name, table, kind: 'gap', action: 'Truncate' }
    // A person cancelled it, or it failed for a reason that stays: the next step is a person's.
    if (before.status?.phase !== 'Streaming' && !isOvertaken(before)) return undefined
  }
}

/** What stopped the table while it was copied is mended by copying it once more. */
const COPIED_AGAIN: ReadonlySet<string> = new Set(['TableChanged', 'SchemaChangeUnsupported'])

/** Whether apply ended it for what came into the queue behind its hold: another gap, or another change that rows do not show. */
function isOvertaken({ status }: TableBackfill): boolean {
  const reason = status?.conditions?.find((condition) => condition.type === 'Succeeded')?.reason
  if (reason === 'GapInQueue') return true
  return reason === 'TableStopped' && COPIED_AGAIN.has(status?.queue?.code ?? '')
}

function byTable<T extends { readonly schema: string; readonly name: string }>(
  tables: readonly T[] | undefined,
): Map<string, T> {
  return new Map(tables?.map((table) => [tableKey(table), table]))
}

/** What the workers have said about single tables. */
export function tableProblems({ status }: Pipeline): Problem[] {
  return [...(status?.capture?.problems ?? []), ...(status?.apply?.problems ?? [])].filter(
    (problem) => problem.table !== undefined,
  )
}
