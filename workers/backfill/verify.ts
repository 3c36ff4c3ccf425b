import { MillraceError } from '../../lib/errors.ts'
import { sleep } from '../../lib/sleep.ts'
import type { Comparison } from '../destination/destination.ts'
import { estimateRows } from '../source/catalog.ts'
import { type Connection, openConnection } from '../source/connect.ts'
import { readLogEnd } from '../source/identity.ts'
import { readLeaves } from '../source/scan-facts.ts'
import { sampleShare } from '../source/scan-plan.ts'
import { tableLabel } from '../source/table.ts'
import { cutRange, readDigest, readRows } from '../source/verify-read.ts'
import type { VerifyRange } from '../source/verify-sql.ts'
import type { Attempt } from './context.ts'
import { proveServer } from './server.ts'
import { differingKeys, judgeBracket, keyText, type Suspect } from './suspects.ts'
import { assertComparable, readBracket } from './verify-bracket.ts'
import { createFindings, type Findings } from './verify-report.ts'

/** Rows of a range: what is read row by row when its checksums differ. */
const RANGE_ROWS = 10_000
/** A range that turns out to have more is cut again. */
const MOST_ROWS = 5 * RANGE_ROWS
const MOST_READERS = 4
const BRACKET_ROWS = 5_000
/** Certain differences from which on no more are looked for: the table has to be copied again anyway. */
const MOST_DIFFERENT = 10_000
/** Characters of keys under suspicion from which on no further range is read. */
const MOST_SUSPICION = 4_000_000
const PAUSE = 250

/**
 * Compares a streaming table with its source, without stopping anything. Ranges of keys are compared by checksum, each
 * side at whatever position it is; where they differ, row by row; and rows that differ again and again, in brackets of
 * positions (see `judgeBracket`), until it is certain.
 *
 * Begins anew when it is called again: what was equal before may not be any more.
 */
export async function verifyTable(attempt: Attempt): Promise<Findings> {
  const { destination, definition, settings, signal, report } = attempt
  if (!destination.compare) {
    throw new MillraceError(
      'UnsupportedServer',
      `spec.verify: a table in ${destination.kind === 'redshift' ? 'Amazon Redshift' : destination.kind} cannot be verified yet`,
      { field: 'spec.verify', retryable: false },
    )
  }
  if (definition.key.length === 0) {
    throw new MillraceError(
      'NoUsableKey',
      `spec.verify: table ${tableLabel(settings.table)} has no key, so that its rows cannot be told apart: add a primary key`,
      { field: 'spec.verify' },
    )
  }
  assertComparable(await destination.ledger.readTable(settings.table, signal), settings.table)
  const comparison = await destination.compare(settings.target, definition, signal)
  const connect = await sourceConnections(attempt)
  const findings = createFindings()
  report.stage('Verifying')
  const over = new AbortController()
  const running = AbortSignal.any([signal, over.signal])
  const connections: Connection[] = []
  try {
    const first = await connect(running)
    connections.push(first)
    const ranges = await planRanges(attempt, comparison, first)
    findings.total(ranges.length)
    const readers = Math.min(MOST_READERS, settings.parallelism, ranges.length)
    while (connections.length < readers + 1) connections.push(await connect(running))
    const [resolver, ...others] = connections as [Connection, ...Connection[]]
    const work = createWork(attempt, comparison, findings, ranges, running)
    await Promise.all([...others.map((one) => work.compareRanges(one)), work.resolve(resolver)])
    return findings
  } finally {
    over.abort(new Error('the comparison is over'))
    await Promise.all(connections.map((connection) => connection.close()))
  }
}

async function sourceConnections(attempt: Attempt): Promise<(signal: AbortSignal) => Promise<Connection>> {
  const { primary, control } = attempt
  if (attempt.readFrom === 'Primary') return (signal) => openConnection(primary, { purpose: 'scan', signal })
  const { flushed } = await readLogEnd(control)
  const server = await proveServer(attempt, flushed)
  return server.connect
}

async function planRanges(
  { definition, report }: Attempt,
  comparison: Comparison,
  connection: Connection,
): Promise<VerifyRange[]> {
  const rows = Number(await estimateRows(connection, definition))
  report.facts({ rowsEstimated: rows })
  const parts = Math.ceil(rows / RANGE_ROWS)
  if (parts <= 1) return [{}]
  const { leaves } = await readLeaves(connection, definition)
  const blocks = leaves.reduce((sum, leaf) => sum + leaf.blocks, 0)
  return await cutRange(connection.query, comparison.source, {}, parts, sampleShare(parts, blocks))
}

function createWork(
  attempt: Attempt,
  comparison: Comparison,
  findings: Findings,
  planned: readonly VerifyRange[],
  signal: AbortSignal,
) {
  const ranges = planned.map((range, number) => ({ range, number }))
  const suspects = new Map<string, Suspect>()
  let suspicion = 0
  let reading = ranges.length
  let isEnough = false

  function suspect(key: readonly string[], range: number): void {
    const text = keyText(key)
    if (!suspects.has(text)) suspicion += text.length
    suspects.set(text, { key, range, confirmed: 0, brackets: 0 })
  }

  async function compareOne(connection: Connection, range: VerifyRange, number: number): Promise<void> {
    const { source } = comparison
    const [here, there] = await Promise.all([
      readDigest(connection.query, source, range),
      comparison.digest(range, signal),
    ])
    const rows = Math.max(here.rows, there.rows)
    if (here.rows !== there.rows || here.checksum !== there.checksum) {
      if (here.rows > MOST_ROWS) {
        const parts = await cutRange(connection.query, source, range, Math.ceil(rows / RANGE_ROWS))
        if (parts.length > 1) {
          findings.split(parts.length)
          reading += parts.length - 1
          for (const part of parts) ranges.push({ range: part, number })
          return
        }
      }
      const [own, others] = await Promise.all([
        readRows(connection.query, source, range),
        comparison.rows(range, signal),
      ])
      for (const key of differingKeys(own, others)) suspect(key, number)
    }
    findings.compared(rows)
    reading -= 1
    attempt.metrics.compared(rows)
    attempt.progressed()
    attempt.report.verified(findings.status())
  }

  return {
    async compareRanges(connection: Connection): Promise<void> {
      while (reading > 0 && !isEnough) {
        const next = suspicion < MOST_SUSPICION ? ranges.shift() : undefined
        if (next) await compareOne(connection, next.range, next.number)
        else await sleep(PAUSE, signal)
      }
    },

    async resolve(connection: Connection): Promise<void> {
      const isPrimary = attempt.readFrom === 'Primary'
      while (!isEnough && (reading > 0 || suspects.size > 0)) {
        const batch = [...suspects.values()].slice(0, BRACKET_ROWS)
        if (batch.length === 0) {
          await sleep(PAUSE, signal)
          continue
        }
        const brackets = await readBracket(attempt, comparison, connection, isPrimary, batch)
        for (const [index, one] of batch.entries()) {
          const text = keyText(one.key)
          const verdict = judgeBracket(one, brackets[index] as (typeof brackets)[number])
          suspects.delete(text)
          // Behind the others, so that each gets its turn.
          if (verdict.kind === 'again') suspects.set(text, verdict.suspect)
          else suspicion -= text.length
          if (verdict.kind === 'different') findings.different(one, verdict.how)
          if (verdict.kind === 'undecided') findings.undecided()
        }
        const { rowsDifferent = 0 } = findings.status()
        isEnough = rowsDifferent >= MOST_DIFFERENT
        attempt.metrics.different(rowsDifferent)
        attempt.progressed()
        attempt.report.verified(findings.status())
      }
    },
  }
}
