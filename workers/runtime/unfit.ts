import { MAX_UNFIT_COLUMNS } from '../../crds/api.ts'
import type { UnfitColumn } from '../../crds/pipeline.ts'

/** Values of one table that the destination could not hold as they were, by column. */
export interface UnfitCounts {
  add(column: string, values: number): void
  /** Goes on from what an earlier process has reported. Adds nothing when anything was counted or taken over before. */
  resume(reported: readonly UnfitColumn[] | undefined): void
  /** For the status: the columns with most of them first; undefined when there is none. */
  report(): UnfitColumn[] | undefined
}

export function createUnfitCounts(): UnfitCounts {
  const counts = new Map<string, number>()
  return {
    add(column, values) {
      counts.set(column, (counts.get(column) ?? 0) + values)
    },
    resume(reported = []) {
      if (counts.size > 0) return
      for (const { column, values } of reported) counts.set(column, values)
    },
    report() {
      if (counts.size === 0) return undefined
      return [...counts]
        .sort(([a, most], [b, more]) => more - most || (a < b ? -1 : 1))
        .slice(0, MAX_UNFIT_COLUMNS)
        .map(([column, values]) => ({ column, values }))
    },
  }
}
