import { sleep } from '../../lib/sleep.ts'
import type { Comparison } from '../destination/destination.ts'
import type { Connection } from '../source/connect.ts'
import { cutRange, type RangeDigest, readDigests, readRows } from '../source/verify-read.ts'
import type { Listed, Slices } from '../source/verify-sql.ts'
import type { Attempt } from './context.ts'
import { differingRows, judgeBracket, keyText, type Suspect } from './suspects.ts'
import { readBracket } from './verify-bracket.ts'
import type { Findings } from './verify-report.ts'

/** What one statement on either side digests. */
export interface Unit {
  readonly slices: Slices
  /** Number of the range that each slice is, or is a part of. */
  readonly numbers: readonly number[]
}

/** Rows of a range: what is read row by row when its checksums differ. */
export const RANGE_ROWS = 10_000
/** A range that turns out to have more is cut again. */
const MOST_ROWS = 5 * RANGE_ROWS
/** Rows that are listed at once. */
const MOST_LISTED = 200_000
/** Equal ranges between two that differ which are listed along with them: they cost less than another statement. */
const LISTED_ALONG = 4
/** Certain differences from which on no more are looked for: the table has to be copied again anyway. */
const MOST_DIFFERENT = 10_000
/** Characters of keys under suspicion from which on no further range is read. */
const MOST_SUSPICION = 4_000_000
const PAUSE = 250

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
  const suspects = new Map<string, Suspect>()
  let suspicion = 0
  let reading = units.length
  let isEnough = false

  function suspect(key: readonly string[], range: number): void {
    const text = keyText(key)
    if (suspects.has(text)) return
    suspicion += text.length
    suspects.set(text, { key, range, confirmed: 0, brackets: 0 })
    findings.suspected(range)
  }

  /** Looks at the rows of some slices of a unit, which are in order. */
  async function list(connection: Connection, unit: Unit, picked: readonly number[]): Promise<void> {
    const first = picked[0] ?? 0
    const listed: Listed =
      'ranges' in unit.slices
        ? { ranges: unit.slices.ranges.slice(first, (picked.at(-1) ?? first) + 1) }
        : { scattered: unit.slices.scattered, picked }
    const [own, others] = await Promise.all([
      readRows(connection.query, source, listed),
      comparison.rows(listed, signal),
    ])
    const offset = 'ranges' in listed ? first : 0
    for (const { key, slice } of differingRows(own, others)) {
      // A range that was equal and is listed along has been dealt with.
      if (picked.includes(offset + slice)) suspect(key, unit.numbers[offset + slice] ?? 0)
    }
  }

  /** True when the range is now cut into several. */
  async function cut(connection: Connection, unit: Unit, slice: number, rows: number): Promise<boolean> {
    if (!('ranges' in unit.slices)) return false
    const number = unit.numbers[slice] ?? 0
    const range = unit.slices.ranges[slice] ?? {}
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

  async function compareUnit(connection: Connection, unit: Unit): Promise<void> {
    const [here, there] = await Promise.all([
      readDigests(connection.query, source, unit.slices),
      comparison.digests(unit.slices, signal),
    ])
    const picked: number[] = []
    let listing = 0
    const listPicked = async () => {
      const some = picked.splice(0)
      listing = 0
      if (some.length === 0) return
      await list(connection, unit, some)
      for (const slice of some) done(unit.numbers[slice] ?? 0, most(here, there, slice))
      tell()
    }
    const { ranges } = 'ranges' in unit.slices ? unit.slices : {}
    for (const [slice, number] of unit.numbers.entries()) {
      const rows = most(here, there, slice)
      if (isSame(here[slice], there[slice])) {
        done(number, rows)
        continue
      }
      if (ranges && rows > MOST_ROWS && (await cut(connection, unit, slice, rows))) {
        await listPicked()
        continue
      }
      const isFar = ranges && slice - (picked.at(-1) ?? slice) > LISTED_ALONG + 1
      if (isFar || (picked.length > 0 && listing + rows > MOST_LISTED)) await listPicked()
      picked.push(slice)
      listing += rows
    }
    await listPicked()
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
        const next = suspicion < MOST_SUSPICION ? units.shift() : undefined
        if (next) await compareUnit(connection, next)
        else await sleep(PAUSE, signal)
      }
    },

    async resolve(connection: Connection): Promise<void> {
      const isPrimary = attempt.readFrom === 'Primary'
      while (!isEnough && (reading > 0 || suspects.size > 0)) {
        const batch = [...suspects.values()].slice(0, comparison.keysAtOnce)
        if (batch.length === 0) {
          await sleep(PAUSE, signal)
          continue
        }
        const brackets = await readBracket(attempt, comparison, connection, isPrimary, batch)
        for (const [index, one] of batch.entries()) {
          const text = keyText(one.key)
          const verdict = judgeBracket(one, brackets[index] as (typeof brackets)[number], comparison.same)
          suspects.delete(text)
          // Behind the others, so that each gets its turn.
          if (verdict.kind === 'again') suspects.set(text, verdict.suspect)
          else suspicion -= text.length
          if (verdict.kind === 'equal') findings.equal(one)
          if (verdict.kind === 'different') findings.different(one, verdict.how)
          if (verdict.kind === 'undecided') findings.undecided(one)
        }
        const { rowsDifferent = 0 } = findings.status()
        isEnough = rowsDifferent >= MOST_DIFFERENT
        attempt.metrics.different(rowsDifferent)
        tell()
      }
    },
  }
}

const isSame = (a: RangeDigest | undefined, b: RangeDigest | undefined) =>
  a?.rows === b?.rows && (a?.rows === 0 || a?.checksum === b?.checksum)

const most = (a: readonly RangeDigest[], b: readonly RangeDigest[], slice: number) =>
  Math.max(a[slice]?.rows ?? 0, b[slice]?.rows ?? 0)
