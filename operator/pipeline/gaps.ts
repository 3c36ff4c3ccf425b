import type { GapReason } from '../../crds/api.ts'
import type { AppliedTable, Pipeline } from '../../crds/pipeline.ts'
import { tableKey } from '../context.ts'

/** Changes of a table that were lost and not made good yet. */
export interface TableGap {
  readonly code: string
  readonly message: string | undefined
  /** Capture has found it, and apply, which has to record it, has not come to it yet. */
  readonly isAhead: boolean
}

/** The tables, by `tableKey`, of which changes are known to be lost, whichever of the two workers knows it. */
export function tableGaps({ status }: Pipeline): Map<string, TableGap> {
  const { epoch = 0, gap } = status?.capture ?? {}
  const found = new Map<string, TableGap>()
  for (const table of status?.apply?.tables ?? []) {
    const recorded = recordedGap(table)
    if (recorded) found.set(tableKey(table), recorded)
    // A gap begins an epoch. One that was found by a capture that could not report it has no name.
    else if (table.epoch !== undefined && table.epoch < epoch) {
      const known = gap?.epoch === epoch ? gap : undefined
      const code = known?.code ?? ('ChangesLost' satisfies GapReason)
      found.set(tableKey(table), { code, message: known?.message, isAhead: true })
    }
  }
  return found
}

function recordedGap({ gap, needsEmptying, code, message }: AppliedTable): TableGap | undefined {
  if (gap === undefined && !needsEmptying) return undefined
  // The message may be about what is wrong at present.
  const named = gap === undefined || gap === code
  return {
    code: gap ?? code ?? ('ChangesLost' satisfies GapReason),
    message: named ? message : undefined,
    isAhead: false,
  }
}
