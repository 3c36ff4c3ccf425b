/** What decides whether a batch is to be written now. Times in milliseconds of a monotonic clock. */
export interface FlushState {
  readonly changes: number
  readonly bytes: number
  /** When the first change of the batch was taken. */
  readonly since: number
  /** When the last batch of the table began to be written; -Infinity before the first. */
  readonly lastFlush: number
  /** Everything that is in the queue has been taken. */
  readonly atEnd: boolean
}

export interface FlushSettings {
  readonly flushRows: number
  readonly flushBytes: number
  readonly flushSeconds: number
}

/**
 * When a batch is due: 0 = now, else the time at which it will be, if nothing more comes.
 *
 * The first change after a quiet time is written at once; while more keep coming, one write per `flushSeconds` takes them
 * together. So a change waits for that long at most, and a destination is not asked more often than that.
 */
export function flushDue(state: FlushState, settings: FlushSettings): number {
  if (state.changes === 0) return Number.POSITIVE_INFINITY
  if (state.changes >= settings.flushRows || state.bytes >= settings.flushBytes) return 0
  const wait = settings.flushSeconds * 1000
  // Behind: more is on its way, and a fuller batch costs less per change.
  return state.atEnd ? state.lastFlush + wait : state.since + wait
}
