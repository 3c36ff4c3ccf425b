import type { VerifyStatus } from '../../crds/table-backfill.ts'
import { type DifferenceKind, keyLabel, type Suspect } from './suspects.ts'

/** What has been found so far. */
export interface Findings {
  total(ranges: number): void
  /** A range is read, and what of it differs is under suspicion. */
  compared(rows: number): void
  split(parts: number): void
  different(suspect: Suspect, how: DifferenceKind): void
  undecided(): void
  status(): VerifyStatus
}

const MOST_EXAMPLES = 20
const LONGEST_KEY = 200

export function createFindings(): Findings {
  let [rangesTotal, rangesDone, rowsCompared, rowsUndecided] = [0, 0, 0, 0]
  const counts: Record<DifferenceKind, number> = { Changed: 0, Missing: 0, Extra: 0 }
  const ranges = new Set<number>()
  const examples: { key: string; kind: DifferenceKind }[] = []
  return {
    total(count) {
      rangesTotal = count
    },
    compared(rows) {
      rangesDone += 1
      rowsCompared += rows
    },
    split(parts) {
      rangesTotal += parts - 1
    },
    different({ key, range }, kind) {
      counts[kind] += 1
      ranges.add(range)
      if (examples.length < MOST_EXAMPLES) {
        examples.push({ key: keyLabel(key).slice(0, LONGEST_KEY) || "''", kind })
      }
    },
    undecided() {
      rowsUndecided += 1
    },
    status() {
      const { Changed: rowsChanged, Missing: rowsMissing, Extra: rowsExtra } = counts
      const rowsDifferent = rowsChanged + rowsMissing + rowsExtra
      return {
        rangesDone,
        rangesTotal,
        rowsCompared,
        rangesDifferent: ranges.size,
        rowsDifferent,
        rowsChanged,
        rowsMissing,
        rowsExtra,
        ...(rowsUndecided > 0 && { rowsUndecided }),
        ...(examples.length > 0 && { examples }),
      }
    },
  }
}
