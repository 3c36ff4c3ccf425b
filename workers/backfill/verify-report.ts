import type { VerifyStatus } from '../../crds/table-backfill.ts'
import { type DifferenceKind, keyLabel, type Suspect } from './suspects.ts'

/** What has been found so far, and from where it goes on after a restart. */
export interface Findings {
  /**
   * Ranges, by their number from 0.
   *
   * @param begins the bound that each begins with; undefined: after a restart it begins from the beginning
   */
  plan(ranges: number, begins: (range: number) => readonly string[] | undefined): void
  /** A part of a range is read, and what of it differs is under suspicion. */
  compared(range: number, rows: number): void
  /** A part of a range was cut into so many. */
  split(range: number, parts: number): void
  suspected(range: number): void
  /** A suspicion has come to its end. */
  equal(suspect: Suspect): void
  different(suspect: Suspect, how: DifferenceKind): void
  undecided(suspect: Suspect): void
  status(): VerifyStatus
}

/** Everything below this bound is compared, and this was found there. */
export interface Cursor extends Tally {
  readonly from: readonly string[]
  /** What the bound is a bound of. */
  readonly by: string
  readonly rangesDifferent: number
}

interface Tally {
  ranges: number
  rows: number
  undecided: number
  Changed: number
  Missing: number
  Extra: number
}

interface Progress extends Tally {
  /** Parts that are not read, and rows that nothing is known about. */
  open: number
}

const MOST_EXAMPLES = 20
const LONGEST_KEY = 200
/** What the status has room for. */
const LONGEST_CURSOR = 4096

const KINDS = ['Changed', 'Missing', 'Extra'] as const
const TALLY = ['ranges', 'rows', 'undecided', ...KINDS] as const
const nothing = (): Tally => ({ ranges: 0, rows: 0, undecided: 0, Changed: 0, Missing: 0, Extra: 0 })

/**
 * @param by what bounds are bounds of
 * @param before a cursor to go on from, and the examples of then
 */
export function createFindings(
  by: string,
  before?: { readonly cursor: Cursor; readonly examples: VerifyStatus['examples'] },
): Findings {
  const settled: Tally & { rangesDifferent: number } = { ...nothing(), rangesDifferent: 0, ...before?.cursor }
  /** With what was found in ranges that are not settled. */
  const all = { ...settled }
  const ranges: Progress[] = []
  const examples = [...(before?.examples ?? [])]
  let begins: Parameters<Findings['plan']>[1] = () => undefined
  let [next, parts] = [0, settled.ranges]

  const at = (range: number) => ranges[range] as Progress
  const differs = (tally: Tally) => KINDS.some((kind) => tally[kind] > 0)

  function add(range: number, name: keyof Tally, count: number): void {
    at(range)[name] += count
    all[name] += count
  }

  /** Settles the ranges from the front that nothing is open about. */
  function close(range: number): void {
    at(range).open -= 1
    for (let one = ranges[next]; one?.open === 0; one = ranges[next]) {
      for (const name of TALLY) settled[name] += one[name]
      if (differs(one)) settled.rangesDifferent += 1
      next += 1
    }
  }

  function cursor(): string | undefined {
    const from = next < ranges.length ? begins(next) : undefined
    if (from === undefined) return undefined
    const text = JSON.stringify({ from, by, ...settled } satisfies Cursor)
    return text.length > LONGEST_CURSOR ? undefined : text
  }

  return {
    plan(count, boundOf) {
      begins = boundOf
      parts += count
      for (let range = 0; range < count; range += 1) ranges.push({ ...nothing(), open: 1 })
    },
    compared(range, rows) {
      add(range, 'ranges', 1)
      add(range, 'rows', rows)
      close(range)
    },
    split(range, into) {
      parts += into - 1
      at(range).open += into - 1
    },
    suspected(range) {
      at(range).open += 1
    },
    equal({ range }) {
      close(range)
    },
    different({ key, range }, kind) {
      if (!differs(at(range))) all.rangesDifferent += 1
      add(range, kind, 1)
      const label = keyLabel(key).slice(0, LONGEST_KEY) || "''"
      const isKnown = examples.some((one) => one.key === label && one.kind === kind)
      if (examples.length < MOST_EXAMPLES && !isKnown) examples.push({ key: label, kind })
      close(range)
    },
    undecided({ range }) {
      add(range, 'undecided', 1)
      close(range)
    },
    status() {
      const where = cursor()
      return {
        rangesDone: all.ranges,
        rangesTotal: parts,
        rowsCompared: all.rows,
        rangesDifferent: all.rangesDifferent,
        rowsDifferent: all.Changed + all.Missing + all.Extra,
        rowsChanged: all.Changed,
        rowsMissing: all.Missing,
        rowsExtra: all.Extra,
        ...(all.undecided > 0 && { rowsUndecided: all.undecided }),
        ...(examples.length > 0 && { examples: [...examples] }),
        ...(where !== undefined && { cursor: where }),
      }
    },
  }
}

/** The cursor in a status, if it is one of these bounds. */
export function readCursor(status: VerifyStatus | undefined, by: string): Cursor | undefined {
  if (status?.cursor === undefined) return undefined
  try {
    const found = JSON.parse(status.cursor) as Cursor
    const isWhole = [...TALLY, 'rangesDifferent' as const].every((name) => Number.isSafeInteger(found[name]))
    const isBound = Array.isArray(found.from) && found.from.every((text) => typeof text === 'string')
    return found.by === by && isWhole && isBound ? found : undefined
  } catch {
    return undefined
  }
}
