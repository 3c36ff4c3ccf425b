import { sleep } from '../../lib/sleep.ts'
import type { Comparison } from '../destination/destination.ts'
import type { Connection } from '../source/connect.ts'
import { cutRange, readDigests, readRows } from '../source/verify-read.ts'
import type { Attempt } from './context.ts'
import { differingRows, judgeBracket } from './suspects.ts'
import { readBracket } from './verify-bracket.ts'
import type { Findings } from './verify-report.ts'
import {
  type Divided,
  divide,
  MOST_LISTED,
  mostRows,
  planSteps,
  RANGE_ROWS,
  type Step,
  slicesAt,
  type Unit,
} from './verify-steps.ts'
import { createSuspicion, LISTED_KEY_BYTES } from './verify-suspicion.ts'

/** Certain differences from which on no more are looked for: the table has to be copied again anyway. */
const MOST_DIFFERENT = 10_000
const PAUSE = 250
const LIMIT = { rows: MOST_LISTED, keyBytes: LISTED_KEY_BYTES }

/** The comparison itself: several readers, and one that finds out about the rows that they suspect. */
export function createWork(
  attempt: Attempt,
  comparison: Comparison,
  findings: Findings,
  planned: readonly Unit[],
  signal: AbortSignal,
) {
  const { source } = comparison
  const units = [...planned]
  const suspicion = createSuspicion(signal)
  let reading = units.length
  let isEnough = false

  /**
   * Suspects the rows that differ in some slices of a unit. False when there are more rows than the digests had it, or longer
   * keys, and nothing was done.
   */
  async function list(
    connection: Connection,
    unit: Unit,
    wanted: readonly number[],
    isLast: boolean,
  ): Promise<boolean> {
    const { slices, places } = slicesAt(unit, wanted)
    const [own, others] = await Promise.all([
      readRows(connection.query, source, slices, LIMIT),
      comparison.rows(slices, LIMIT, signal),
    ])
    if (!isLast && !(own.isWhole && others.isWhole)) return false
    for (const { key, slice } of differingRows(own.rows, others.rows)) {
      const place = places[slice] ?? 0
      const range = unit.numbers[place] ?? 0
      // A range that was equal and is listed along has been dealt with.
      if (wanted.includes(place) && suspicion.add(key, range)) findings.suspected(range)
    }
    return true
  }

  /** True when the range is now cut into several. */
  async function cut(connection: Connection, unit: Unit, place: number, rows: number): Promise<boolean> {
    if (!('ranges' in unit.slices)) return false
    const number = unit.numbers[place] ?? 0
    const range = unit.slices.ranges[place] ?? {}
    const parts = await cutRange(connection.query, source, range, Math.ceil(rows / RANGE_ROWS))
    if (parts.length <= 1) return false
    findings.split(number, parts.length)
    for (let start = 0; start < parts.length; start += comparison.rangesAtOnce) {
      const ranges = parts.slice(start, start + comparison.rangesAtOnce)
      reading += 1
      units.push({ slices: { ranges }, numbers: ranges.map(() => number) })
    }
    return true
  }

  /** Digests slices again in finer parts, before anything else, so that few units wait. */
  function goInto(unit: Unit, { parts, times, owners }: Divided, places: readonly number[]): void {
    for (const place of owners) findings.split(unit.numbers[place] ?? 0, times)
    // What is not an owner has become a part of one.
    for (const place of places) if (!owners.includes(place)) done(unit.numbers[place] ?? 0, 0)
    reading += 1
    units.unshift(parts)
  }

  async function take(connection: Connection, unit: Unit, step: Step, rowsOf: (place: number) => number) {
    if (step.kind === 'cut' && (await cut(connection, unit, step.place, rowsOf(step.place)))) return
    const places = step.kind === 'cut' ? [step.place] : step.places
    const rows = places.reduce((sum, place) => sum + rowsOf(place), 0)
    const finer = divide(unit, places, rows)
    const isListed =
      step.kind === 'list' &&
      (await suspicion.withRoom(
        2 * Math.min(step.rows, MOST_LISTED),
        // Where nothing is finer, it is mostly rows of one key.
        async () => isEnough || (await list(connection, unit, places, finer === undefined)),
      ))
    if (finer && !isListed) goInto(unit, finer, places)
    else for (const place of places) done(unit.numbers[place] ?? 0, rowsOf(place))
  }

  async function compareUnit(connection: Connection, unit: Unit): Promise<void> {
    const [here, there] = await Promise.all([
      readDigests(connection.query, source, unit.slices),
      comparison.digests(unit.slices, signal),
    ])
    const rowsOf = (place: number) => mostRows(here, there, place)
    const { equal, steps } = planSteps(unit, here, there)
    for (const place of equal) done(unit.numbers[place] ?? 0, rowsOf(place))
    for (const step of steps) {
      if (isEnough) return
      await take(connection, unit, step, rowsOf)
      tell()
    }
    reading -= 1
    tell()
  }

  function done(range: number, rows: number): void {
    findings.compared(range, rows)
    attempt.metrics.compared(rows)
  }

  function tell(): void {
    attempt.progressed()
    attempt.report.verified(findings.status())
  }

  return {
    async compare(connection: Connection): Promise<void> {
      while (reading > 0 && !isEnough) {
        const next = units.shift()
        if (next) await compareUnit(connection, next)
        else await sleep(PAUSE, signal)
      }
    },
    async resolve(connection: Connection): Promise<void> {
      const isPrimary = attempt.readFrom === 'Primary'
      while (!isEnough && (reading > 0 || !suspicion.isEmpty())) {
        const batch = suspicion.next(comparison.keysAtOnce)
        if (batch.length === 0) {
          await sleep(PAUSE, signal)
          continue
        }
        const brackets = await readBracket(attempt, comparison, connection, isPrimary, batch)
        for (const [index, one] of batch.entries()) {
          const verdict = judgeBracket(one, brackets[index] as (typeof brackets)[number], comparison.same)
          if (verdict.kind === 'again') suspicion.again(verdict.suspect)
          else suspicion.remove(one)
          if (verdict.kind === 'equal') findings.equal(one)
          if (verdict.kind === 'different') findings.different(one, verdict.how)
          if (verdict.kind === 'undecided') findings.undecided(one)
        }
        const { rowsDifferent = 0 } = findings.status()
        isEnough = rowsDifferent >= MOST_DIFFERENT
        if (isEnough) suspicion.end()
        attempt.metrics.different(rowsDifferent)
        tell()
      }
    },
  }
}
