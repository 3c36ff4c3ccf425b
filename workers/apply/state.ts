import type { MillraceError } from '../../lib/errors.ts'
import type { LedgerBackfill, LedgerTable } from '../destination/ledger.ts'
import { createUnfitCounts, type UnfitCounts } from '../runtime/unfit.ts'
import { type TableName, tableLabel } from '../source/table.ts'

/** What apply knows of one table at present. The ledger's rows are facts; the rest is memory, lost with the process. */
export interface TableState {
  readonly table: TableName
  readonly label: string
  /** As last read or written; undefined before it is claimed. */
  row: LedgerTable | undefined
  /** Backfills that are copied and wait for their release. */
  draining: LedgerBackfill[]
  /** How often Millrace has, or another pod of it may have, emptied the destination table or let a backfill have it. */
  emptied: number
  /** Names of the columns that were last written. */
  columns: readonly string[]
  /** The destination table that they were written to, as `InspectedTable.facts.id` has it; undefined: it may be another one by now. */
  target: string | undefined
  /** Nothing is applied because the Pipeline is paused. */
  paused: boolean
  /** Why it does not go on; cleared by the next success. */
  error: MillraceError | undefined
  /** Failures in a row. */
  failures: number
  /** What it waits for, for people; undefined when for nothing special. */
  waiting: string | undefined
  /** Commit time of the oldest change that was read and is not durable, milliseconds since 1970. */
  oldestAt: number | undefined
  /** Commit time of the last change that is durable. */
  appliedAt: number | undefined
  /** Everything in the queue has been read. */
  atEnd: boolean
  /** When the release of which backfill was last missed or written, by uid; milliseconds of the monotonic clock. */
  readonly releases: Map<string, { since: number; written: number }>
  /** Since when the table is neither in the spec nor in the publication. */
  goneSince: number | undefined
  /** Values that the destination could not hold. */
  readonly unfit: UnfitCounts
}

export function createState(table: TableName): TableState {
  return {
    table,
    label: tableLabel(table),
    row: undefined,
    draining: [],
    emptied: 0,
    columns: [],
    target: undefined,
    paused: false,
    error: undefined,
    failures: 0,
    waiting: undefined,
    oldestAt: undefined,
    appliedAt: undefined,
    atEnd: false,
    releases: new Map(),
    goneSince: undefined,
    unfit: createUnfitCounts(),
  }
}

/** Takes what the ledger says of the table now. Whoever else has written it may have emptied the destination table too. */
export function takeRow(state: TableState, row: LedgerTable | undefined): void {
  if (row?.version !== state.row?.version) {
    state.emptied += 1
    state.target = undefined
  }
  state.row = row
}

/** How far a table is behind its source, in seconds; undefined when nothing is known yet. */
export function lagSeconds(state: TableState, now: number): number | undefined {
  const since = state.oldestAt ?? (state.atEnd ? now : state.appliedAt)
  return since === undefined ? undefined : Math.max(0, (now - since) / 1000)
}
