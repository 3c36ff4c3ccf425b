/** Which schedules are to be run, as the command line and the environment say. */
export interface ModelSettings {
  /** Seed of the first. */
  readonly first: number
  readonly count: number
  /** Failures after which it ends. */
  readonly most: number
  /** Prints what happened in a schedule that failed. */
  readonly verbose: boolean
}

export function modelSettings(): ModelSettings {
  const { SEED, FAILURES, VERBOSE } = process.env
  return {
    first: Number(SEED ?? 1),
    count: Number(process.argv[2] ?? (SEED === undefined ? 300 : 1)),
    most: Number(FAILURES ?? 1),
    verbose: VERBOSE === '1',
  }
}
