import { describe, expect, it } from 'vitest'
import type { RangeDigest } from '../source/verify-read.ts'
import { SCATTER, type Slices, type VerifyRange } from '../source/verify-sql.ts'
import { divide, MOST_LISTED, mostRows, planSteps, slicesAt, type Unit } from './verify-steps.ts'

const digests = (rows: readonly number[], checksum = 'same'): RangeDigest[] =>
  rows.map((count) => ({ rows: count, checksum }))
const ranges = (count: number): Unit => ({
  slices: {
    ranges: Array.from({ length: count }, (_, index) => ({ from: [String(index)], to: [String(index + 1)] })),
  },
  numbers: Array.from({ length: count }, (_, index) => 7 + index),
})

describe('planSteps', () => {
  const steps = (unit: Unit, here: number[], there: number[], checksum = 'same') =>
    planSteps(unit, digests(here), digests(there, checksum)).steps

  it('lists ranges that differ, and a few equal ones between them along with them', () => {
    const here = digests(Array.from({ length: 20 }, () => 1000))
    const there = here.map((one, place) => ([2, 4, 15].includes(place) ? { ...one, checksum: 'other' } : one))
    const { equal, steps: found } = planSteps(ranges(20), here, there)
    expect(equal).toHaveLength(17)
    expect(found).toEqual([
      { kind: 'list', places: [2, 4], rows: 3000 },
      { kind: 'list', places: [15], rows: 1000 },
    ])
  })

  it('cuts a range that has many rows at the source, and divides one that only the destination has many of', () => {
    expect(steps(ranges(1), [50_000], [10])).toEqual([{ kind: 'cut', place: 0 }])
    expect(steps(ranges(1), [10_000], [2_000_000])).toEqual([{ kind: 'divide', places: [0] }])
  })

  it('divides many ranges together, instead of listing each of them', () => {
    const many = Array.from({ length: 64 }, () => 10_000)
    const [step, ...others] = steps(ranges(64), many, many, 'other')
    expect([step?.kind, others]).toEqual(['divide', []])
  })

  it('divides parts until their rows can be listed', () => {
    const unit: Unit = { slices: { scattered: 4, picked: [0, 1, 2, 3] }, numbers: [0, 1, 2, 3] }
    expect(steps(unit, [5000, 5000, 5000, 5000], [0, 0, 0, 0])).toMatchObject([{ kind: 'list' }])
    expect(steps(unit, [1_000_000, 5, 5, 5], [0, 0, 0, 0])).toEqual([
      { kind: 'divide', places: [0] },
      { kind: 'list', places: [1, 2, 3], rows: 15 },
    ])
    const finest: Unit = { slices: { scattered: SCATTER, picked: [1, 2] }, numbers: [0, 1] }
    expect(steps(finest, [1_000_000, 5], [0, 0])).toMatchObject([
      { kind: 'list', places: [0] },
      { kind: 'list', places: [1] },
    ])
  })
})

describe('divide', () => {
  it('makes parts of the ranges together, which count as the first of them', () => {
    const { parts, times, owners } = divide(ranges(3), [1, 2], 100_000) ?? {}
    expect(parts?.slices).toMatchObject({ within: { from: ['1'], to: ['3'] }, scattered: times })
    expect([owners, new Set(parts?.numbers)]).toEqual([[1], new Set([8])])
  })

  it('makes finer parts of parts, each of its own number, and nothing finer than a hash', () => {
    const unit: Unit = { slices: { scattered: 4, picked: [1, 3] }, numbers: [5, 6] }
    expect(divide(unit, [0, 1], 256)?.parts).toEqual({
      slices: { scattered: 8, picked: [2, 3, 6, 7] },
      numbers: [5, 5, 6, 6],
    })
    expect(divide({ ...unit, slices: { scattered: SCATTER, picked: [1, 3] } }, [0], 256)).toBeUndefined()
  })
})

/** Rows of both sides as numbers, their keys; a row that differs is at both, with another hash. */
interface Tables {
  readonly here: readonly number[]
  readonly there: readonly number[]
  readonly changed: ReadonlySet<number>
}

const scatter = (key: number) => Math.imul(key, 2_654_435_761) >>> 0
const isIn = (key: number, { from, to }: VerifyRange = {}) =>
  (!from || key >= Number(from[0])) && (!to || key < Number(to[0]))

function sliceOf(key: number, slices: Slices): number {
  if ('ranges' in slices) return slices.ranges.findIndex((range) => isIn(key, range))
  if (!isIn(key, slices.within)) return -1
  return slices.picked.indexOf(Math.floor(scatter(key) / (SCATTER / slices.scattered)))
}

function digestOf(keys: readonly number[], slices: Slices, mark: (key: number) => number): RangeDigest[] {
  const count = 'ranges' in slices ? slices.ranges.length : slices.picked.length
  const found = Array.from({ length: count }, () => ({ rows: 0, sum: 0 }))
  for (const key of keys) {
    const one = found[sliceOf(key, slices)]
    if (!one) continue
    one.rows += 1
    one.sum = (one.sum + scatter(key + mark(key))) % 1_000_000_007
  }
  return found.map(({ rows, sum }) => ({ rows, checksum: String(sum) }))
}

/** Goes through everything as readers do; ranges of the source are cut in two. Returns the most rows that were listed at once. */
function compare({ here, there, changed }: Tables, first: Unit) {
  const units = [first]
  const suspects = new Set<number>()
  let [most, statements] = [0, 0]
  for (let unit = units.shift(); unit; unit = units.shift()) {
    statements += 1
    const [own, others] = [
      digestOf(here, unit.slices, () => 0),
      digestOf(there, unit.slices, (key) => (changed.has(key) ? 1 : 0)),
    ]
    for (const step of planSteps(unit, own, others).steps) {
      if (step.kind === 'list') {
        const { slices } = slicesAt(unit, step.places)
        const listed = [here, there].map((keys) => keys.filter((key) => sliceOf(key, slices) >= 0))
        most = Math.max(most, ...listed.map((keys) => keys.length))
        statements += 1
        for (const key of listed.flat()) suspects.add(key)
      } else if (step.kind === 'cut' && 'ranges' in unit.slices) {
        const range = unit.slices.ranges[step.place] ?? {}
        const keys = here.filter((key) => isIn(key, range)).sort((a, b) => a - b)
        const bound = [String(keys[keys.length >> 1])]
        const halves = [
          { ...range, to: bound },
          { ...range, from: bound },
        ]
        units.push({ slices: { ranges: halves }, numbers: [0, 0] })
      } else if (step.kind === 'divide') {
        const rows = step.places.reduce((sum, place) => sum + mostRows(own, others, place), 0)
        const divided = divide(unit, step.places, rows)
        if (divided) units.unshift(divided.parts)
      }
    }
  }
  return { suspects, most, statements }
}

const upTo = (count: number) => Array.from({ length: count }, (_, key) => key)
const whole: Unit = { slices: { ranges: [{}] }, numbers: [0] }
const scattered: Unit = { slices: { scattered: 1, picked: [0] }, numbers: [0] }
const some = new Set(upTo(40).map((index) => index * 2501))

describe('a comparison', () => {
  it.each<[string, Tables, Unit]>([
    ['rows behind the last key', { here: upTo(2_000), there: upTo(120_000), changed: new Set() }, whole],
    ['a destination that was emptied', { here: upTo(120_000), there: [], changed: new Set() }, scattered],
    ['a source that was emptied', { here: [], there: upTo(120_000), changed: new Set() }, whole],
    ['rows here and there', { here: upTo(120_000), there: upTo(120_000), changed: some }, scattered],
    ['rows here and there, by ranges', { here: upTo(120_000), there: upTo(120_000), changed: some }, whole],
  ])('of %s lists what differs, and never more than there is room for', (_what, tables, unit) => {
    const { suspects, most } = compare(tables, unit)
    expect(most).toBeLessThanOrEqual(MOST_LISTED)
    const [here, there] = [new Set(tables.here), new Set(tables.there)]
    const differs = (key: number) => tables.changed.has(key) || here.has(key) !== there.has(key)
    expect([...here, ...there].filter((key) => differs(key) && !suspects.has(key))).toEqual([])
  })

  it('finds a few rows of many parts in a few statements', () => {
    const keys = upTo(200_000)
    expect(compare({ here: keys, there: keys, changed: some }, scattered).statements).toBeLessThan(6)
  })
})
