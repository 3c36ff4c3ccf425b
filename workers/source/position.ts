import { formatLSN, type LSN } from './lsn.ts'

/**
 * Where a change stands in the history of a source: totally ordered.
 *
 * `epoch` grows at every gap (a lost slot, a promoted standby), because after one the LSNs may start again lower;
 * `lsn` is that of the commit record, `sequence` counts every change of the transaction before any filter.
 */
export interface Position {
  readonly epoch: number
  readonly lsn: LSN
  readonly sequence: number
}

/** Before everything. */
export const ORIGIN: Position = { epoch: 0, lsn: 0n, sequence: 0 }

/** Negative when `a` comes before `b`, 0 when they are the same, positive otherwise. */
export function comparePositions(a: Position, b: Position): number {
  if (a.epoch !== b.epoch) return a.epoch - b.epoch
  if (a.lsn !== b.lsn) return a.lsn < b.lsn ? -1 : 1
  return a.sequence - b.sequence
}

/** For messages and logs. */
export function formatPosition(position: Position): string {
  return `${position.epoch}:${formatLSN(position.lsn)}:${position.sequence}`
}
