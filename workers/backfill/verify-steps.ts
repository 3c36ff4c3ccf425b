import type { RangeDigest } from '../source/verify-read.ts'
import { type Parts, SCATTER, type Slices, wholeOf } from '../source/verify-sql.ts'

/** What one statement on either side digests. */
export interface Unit {
  readonly slices: Slices
  /** Number of the range that each slice is, or is a part of. */
  readonly numbers: readonly number[]
}

/** What is done about slices that differ, given by their places in the unit. */
export type Step =
  /** Their rows are read, on both sides. */
  | { readonly kind: 'list'; readonly places: readonly number[]; readonly rows: number }
  /** A range is cut into several, at the source. */
  | { readonly kind: 'cut'; readonly place: number }
  /** They are digested again in finer parts. */
  | { readonly kind: 'divide'; readonly places: readonly number[] }

/** Rows of a range: what is read row by row when its checksums differ. */
export const RANGE_ROWS = 10_000
/** Rows that are listed at once on one side; a range that has more is cut again. */
export const MOST_LISTED = 2 * RANGE_ROWS
/** Equal ranges between two that differ which are listed along with them: they cost less than another statement. */
const LISTED_ALONG = 4
/** Rows of a part of which nothing is gained when it is divided once more. */
const FINE = 64
/** Parts that one statement digests, which names each of them: a statement of Redshift has room for 100 KB. */
const MOST_PARTS = 2048

/** The slices of a unit that are equal, and what to do about the others, so that no listing has more than `MOST_LISTED` rows. */
export function planSteps(
  { slices, numbers }: Unit,
  here: readonly RangeDigest[],
  there: readonly RangeDigest[],
): { equal: number[]; steps: Step[] } {
  const places = numbers.map((_, place) => place)
  const differing = places.filter((place) => !isSame(here[place], there[place]))
  const rowsOf = (place: number) => mostRows(here, there, place)
  return {
    equal: places.filter((place) => isSame(here[place], there[place])),
    steps:
      'ranges' in slices
        ? planRanges(differing, rowsOf, (place) => here[place]?.rows ?? 0)
        : planParts(slices, differing, rowsOf),
  }
}

type RowsOf = (place: number) => number

function planRanges(differing: readonly number[], rowsOf: RowsOf, ownRows: RowsOf): Step[] {
  const large = differing.filter((place) => rowsOf(place) > MOST_LISTED)
  const small = differing.filter((place) => rowsOf(place) <= MOST_LISTED)
  const steps = large.map(
    (place): Step =>
      // Rows that only the destination has lie between no bounds of the source.
      ownRows(place) > MOST_LISTED ? { kind: 'cut', place } : { kind: 'divide', places: [place] },
  )
  // Mostly a few rows of each differ: finding the parts that they are in is one statement, and listing all of it many.
  const isMuch = sumOf(small, rowsOf) > MOST_LISTED
  return [...steps, ...(isMuch ? [{ kind: 'divide', places: small } as const] : listed(small, rowsOf, true))]
}

function planParts({ scattered }: Parts, differing: readonly number[], rowsOf: RowsOf): Step[] {
  if (sumOf(differing, rowsOf) <= MOST_LISTED) return listed(differing, rowsOf, false)
  const isCoarse = (place: number) => scattered < SCATTER && rowsOf(place) > FINE
  const coarse = differing.filter(isCoarse)
  const fine = differing.filter((place) => !isCoarse(place))
  const steps: Step[] = []
  for (let start = 0; start < coarse.length; start += MOST_PARTS / 2) {
    steps.push({ kind: 'divide', places: coarse.slice(start, start + MOST_PARTS / 2) })
  }
  return [...steps, ...listed(fine, rowsOf, false)]
}

/**
 * Listings of slices, each with as many as there is room for.
 *
 * @param areNeighbours what lies between two of them is listed along
 */
function listed(places: readonly number[], rowsOf: RowsOf, areNeighbours: boolean): Step[] {
  const steps: (Step & { kind: 'list'; places: number[] })[] = []
  for (const place of places) {
    const last = steps.at(-1)
    const before = last?.places.at(-1) ?? place
    const along = areNeighbours
      ? Array.from({ length: place - before - 1 }, (_, index) => before + 1 + index)
      : []
    const rows = (last?.rows ?? 0) + sumOf(along, rowsOf) + rowsOf(place)
    if (last && along.length <= LISTED_ALONG && rows <= MOST_LISTED) {
      last.places.push(place)
      steps[steps.length - 1] = { ...last, rows }
    } else {
      steps.push({ kind: 'list', places: [place], rows: rowsOf(place) })
    }
  }
  return steps
}

/** What is listed of a unit, and the place in the unit of each slice of it. */
export function slicesAt({ slices }: Unit, places: readonly number[]): { slices: Slices; places: number[] } {
  const [first = 0, last = first] = [places[0], places.at(-1)]
  if ('ranges' in slices) {
    const ranges = slices.ranges.slice(first, last + 1)
    return { slices: { ranges }, places: ranges.map((_, index) => first + index) }
  }
  return { slices: { ...slices, picked: pickedAt(slices, places) }, places: [...places] }
}

export interface Divided {
  readonly parts: Unit
  /** Parts that each of the owners has become. */
  readonly times: number
  /** Places in the unit of the slices that the parts belong to. */
  readonly owners: readonly number[]
}

/**
 * Finer parts of some slices of a unit: each as its own, of parts; of ranges all that they cover together, which then counts as the
 * first of them. Undefined where nothing finer is left.
 *
 * @param rows that they have
 */
export function divide(
  { slices, numbers }: Unit,
  places: readonly number[],
  rows: number,
): Divided | undefined {
  const first = places[0] ?? 0
  const whole: Parts =
    'ranges' in slices
      ? {
          scattered: 1,
          picked: [0],
          within: wholeOf(slices.ranges.slice(first, (places.at(-1) ?? first) + 1)),
        }
      : { ...slices, picked: pickedAt(slices, places) }
  const owners = 'ranges' in slices ? [first] : places
  if (whole.scattered >= SCATTER) return undefined
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(2, rows / FINE / owners.length)))
  const room = 2 ** Math.floor(Math.log2(MOST_PARTS / owners.length))
  const times = Math.min(wanted, Math.max(2, room), SCATTER / whole.scattered)
  const finer = (part: number) => Array.from({ length: times }, (_, index) => part * times + index)
  const picked = whole.picked.flatMap(finer)
  return {
    parts: {
      slices: { ...whole, scattered: whole.scattered * times, picked },
      numbers: owners.flatMap((place) => Array.from({ length: times }, () => numbers[place] ?? 0)),
    },
    times,
    owners,
  }
}

function pickedAt({ picked }: Parts, places: readonly number[]): number[] {
  return places.map((place) => picked[place] ?? 0)
}

/** Rows that a slice has on the side that has more of them. */
export function mostRows(a: readonly RangeDigest[], b: readonly RangeDigest[], place: number): number {
  return Math.max(a[place]?.rows ?? 0, b[place]?.rows ?? 0)
}

function sumOf(places: readonly number[], rowsOf: RowsOf): number {
  return places.reduce((sum, place) => sum + rowsOf(place), 0)
}

const isSame = (a: RangeDigest | undefined, b: RangeDigest | undefined) =>
  a?.rows === b?.rows && (a?.rows === 0 || a?.checksum === b?.checksum)
