import type { LedgerTable, LedgerTableFacts } from '../destination/ledger.ts'
import type { ControlLine } from '../queue/format.ts'
import type { TopicOffsets } from '../queue/queue.ts'
import { comparePositions, ORIGIN, type Position } from '../source/position.ts'
import type { Ending } from './hold.ts'

/** Facts of a table's ledger row that change beside its place. */
export type FactChange = Partial<
  Pick<
    LedgerTableFacts,
    | 'incarnation'
    | 'unknownHistory'
    | 'needsEmptying'
    | 'historyComplete'
    | 'state'
    | 'stopCode'
    | 'stopMessage'
  >
>

type GapLine = Extract<ControlLine, { control: 'gap' }>

const LOST: FactChange = { unknownHistory: true, needsEmptying: true, historyComplete: false }

/**
 * What passing a control line changes in the table's ledger row. Holds and releases are not decided here. A table that has
 * stopped already stays as it is: the hold of a backfill that empties it is all that matters to it (rule R21).
 */
export function controlFacts(line: ControlLine, table: LedgerTable): FactChange {
  if (table.state === 'stopped') return {}
  switch (line.control) {
    case 'join':
      return joinFacts(table)
    case 'leave':
      return { ...(!isBlank(table) && lostFacts('PublicationChanged', LEFT)), state: 'left' }
    case 'gap':
      return gapFacts(line, table)
    case 'changed':
      return stopFacts(line.code, line.message)
    default:
      return {}
  }
}

// The first join of all begins the history; a later one has a hole before it (rule R17). One that no leave stands before
// means that the table was out of the publication without anybody having asked for it.
function joinFacts(table: LedgerTable): FactChange {
  if (table.state === 'left') {
    // What left while it was blank is blank still.
    const blank = !table.unknownHistory
    return { state: 'active', ...(!blank && { unknownHistory: true, historyComplete: false }) }
  }
  // What is missing has its name already.
  if (table.needsEmptying) return {}
  return isUntouched(table) ? {} : lostFacts('PublicationChanged', REJOINED)
}

/** Nothing was ever applied to it. */
export function isUntouched({ position }: LedgerTable): boolean {
  return comparePositions(position, ORIGIN) === 0
}

/** And nothing stood in the destination before: capture begins with a leave when its topics are those of a Pipeline that has ended. */
function isBlank(table: LedgerTable): boolean {
  return isUntouched(table) && !table.unknownHistory
}

// Behind a gap the publication may be an older one, of a replica that was promoted before it had the leave: then the table is in it,
// and no join comes any more. Where it is not, the join that comes says the same.
function gapFacts({ code, message }: GapLine, { state }: LedgerTable): FactChange {
  return { ...lostFacts(code, message), ...(state === 'left' && { state: 'active' }) }
}

/**
 * A transaction that was open when the table left comes after the leave, with what it had done before and nothing of what it
 * did afterwards. What was blank is not blank any more.
 */
export function rowFacts({ state, unknownHistory }: LedgerTable): FactChange {
  return state === 'left' && !unknownHistory ? lostFacts('PublicationChanged', LEFT) : {}
}

/** It was given free, with all that its topic had: what stands in the destination may be of that time. */
export function isReturning(row: LedgerTable, { earliest }: TopicOffsets): boolean {
  return row.incarnation === '' && row.unknownHistory && !row.needsEmptying && earliest > row.nextOffset
}

/** For a table that comes back: nothing told the destination what was deleted while it was away. */
export const LEFT =
  'the table had left the Pipeline for a while: rows that were deleted meanwhile may still be in the destination; a backfill that empties the table cures it'

export const REJOINED =
  'the table was out of the publication for a while, because it or the publication was altered, renamed or dropped by hand: changes may be missing; a backfill that empties the table cures it'

/** Changes are missing, and the table goes on: rows may be wrong until a backfill empties it (rule R22). */
export function lostFacts(code: string, message: string): FactChange {
  return { ...LOST, stopCode: code, stopMessage: message }
}

/** The table stops: what follows is discarded until a backfill empties it (rule R21). */
export function stopFacts(code: string, message: string): FactChange {
  return { ...LOST, state: 'stopped', stopCode: code, stopMessage: message }
}

/** A drained backfill leaves a table of which everything is known. */
export const DRAINED: FactChange = {
  unknownHistory: false,
  historyComplete: true,
  stopCode: '',
  stopMessage: '',
}

/** Changes were lost, and no backfill has made that good: one that has only emptied the table has not. */
export function hasGap({ stopCode, needsEmptying, historyComplete }: LedgerTable): boolean {
  return needsEmptying || (stopCode !== '' && !historyComplete)
}

/**
 * The table's position once a control line is passed; undefined: it was passed before (rule R15).
 *
 * What capture saw in the catalog is never skipped. It stands where capture was when it looked: after a restart that is before
 * changes which were sent, and applied, already.
 */
export function placeAfter(line: ControlLine, place: Position, position: Position): Position | undefined {
  if (comparePositions(place, position) > 0) return place
  return line.control === 'changed' ? position : undefined
}

/** Whether a control line makes a copy worthless that was not drained yet (rules R21, R22). */
export function endsDraining(line: ControlLine, table: LedgerTable): boolean {
  if (table.state === 'stopped') return false
  if (line.control === 'join') return joinFacts(table).needsEmptying === true
  return line.control === 'gap' || line.control === 'changed' || line.control === 'leave'
}

/** What is said of records that are gone before they were applied (rule R24). */
export function queueLost(what: string): Ending {
  const message = `${what}: changes that were not applied are lost; apply a TableBackfill with destinationTable Truncate or Drop`
  return { code: 'QueueLost', message }
}

/** @param offsets what the topic has; undefined = it is gone */
export function offsetGone(topic: string, wanted: bigint, offsets: TopicOffsets | undefined): string {
  const holds = offsets ? `it holds ${offsets.earliest} to ${offsets.end}` : 'it is gone'
  return `topic ${topic} has no offset ${wanted} (${holds})`
}

export function topicRemade(topic: string): string {
  return `topic ${topic} was deleted and made anew`
}

/** Why a copy is worthless that a control line ends. */
export function whyEnded(line: ControlLine): Ending {
  if (line.control === 'gap' || line.control === 'changed') return { code: line.code, message: line.message }
  if (line.control === 'join') return { code: 'PublicationChanged', message: REJOINED }
  return { code: 'Cancelled', message: 'the table left the publication' }
}
