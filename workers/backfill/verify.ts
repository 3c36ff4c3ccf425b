import { MillraceError } from '../../lib/errors.ts'
import type { Comparison } from '../destination/destination.ts'
import { estimateRows } from '../source/catalog.ts'
import { type Connection, openConnection } from '../source/connect.ts'
import { readEncoding, readLogEnd } from '../source/identity.ts'
import { readLeaves } from '../source/scan-facts.ts'
import { sampleShare } from '../source/scan-plan.ts'
import { tableLabel } from '../source/table.ts'
import { cutRange } from '../source/verify-read.ts'
import type { VerifyRange } from '../source/verify-sql.ts'
import type { Attempt } from './context.ts'
import { proveServer } from './server.ts'
import { assertComparable } from './verify-bracket.ts'
import { createFindings, type Findings, readCursor } from './verify-report.ts'
import { RANGE_ROWS, type Unit } from './verify-steps.ts'
import { createWork } from './verify-work.ts'

const MOST_READERS = 4
/** Parts of a table that cannot be cut by its key; one statement digests them all. */
const MOST_PARTS = 4096

/**
 * Compares a streaming table with its source, without stopping anything. Ranges of keys are compared by checksum, each
 * side at whatever position it is; where they differ, row by row; and rows that differ again and again, in brackets of
 * positions (see `judgeBracket`), until it is certain.
 *
 * Called again, in this process or another one, it goes on behind the ranges that are settled.
 */
export async function verifyTable(attempt: Attempt): Promise<Findings> {
  const { destination, definition, settings, signal, report } = attempt
  if (definition.key.length === 0) {
    throw new MillraceError(
      'NoUsableKey',
      `spec.verify: table ${tableLabel(settings.table)} has no key, so that its rows cannot be told apart: add a primary key`,
      { field: 'spec.verify' },
    )
  }
  assertComparable(await destination.ledger.readTable(settings.table, signal), settings.table)
  const encoding = await readEncoding(attempt.control)
  const comparison = await destination.compare(settings.target, definition, encoding, signal)
  const connect = await sourceConnections(attempt)
  report.stage('Verifying')
  const over = new AbortController()
  const running = AbortSignal.any([signal, over.signal])
  const connections: Connection[] = []
  try {
    const first = await connect(running)
    connections.push(first)
    const { findings, units } = await plan(attempt, comparison, first)
    const readers = Math.min(MOST_READERS, settings.parallelism, units.length)
    while (connections.length < readers + 1) connections.push(await connect(running))
    const [resolver, ...others] = connections as [Connection, ...Connection[]]
    const work = createWork(attempt, comparison, findings, units, running)
    await Promise.all([...others.map((one) => work.compare(one)), work.resolve(resolver)])
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

async function plan(
  attempt: Attempt,
  comparison: Comparison,
  connection: Connection,
): Promise<{ findings: Findings; units: Unit[] }> {
  const { definition, report, log } = attempt
  const { order } = comparison.source
  const rows = Number(await estimateRows(connection, definition))
  report.facts({ rowsEstimated: rows })
  if (order === undefined) {
    const findings = createFindings('')
    const parts = Math.min(MOST_PARTS, 2 ** Math.ceil(Math.log2(Math.max(1, rows / RANGE_ROWS))))
    findings.plan(parts, () => undefined)
    const numbers = Array.from({ length: parts }, (_, part) => part)
    return { findings, units: [{ slices: { scattered: parts, picked: numbers }, numbers }] }
  }
  const by = [...definition.key, ...order.map(({ bound }) => bound)].join(' ')
  const before = report.found()
  const cursor = readCursor(before, by)
  if (cursor) log.info({ rangesDone: cursor.ranges }, 'Going on where the comparison was')
  const findings = createFindings(by, cursor && { cursor, examples: before?.examples })
  const left = Math.max(0, rows - (cursor?.rows ?? 0))
  const ranges = await cutTable(
    attempt,
    comparison,
    connection,
    cursor ? { from: cursor.from } : {},
    left,
    rows,
  )
  findings.plan(ranges.length, (range) => ranges[range]?.from)
  const units: Unit[] = []
  for (let start = 0; start < ranges.length; start += comparison.rangesAtOnce) {
    const some = ranges.slice(start, start + comparison.rangesAtOnce)
    units.push({ slices: { ranges: some }, numbers: some.map((_, index) => start + index) })
  }
  return { findings, units }
}

async function cutTable(
  { definition }: Attempt,
  { source }: Comparison,
  connection: Connection,
  whole: VerifyRange,
  rows: number,
  rowsOfTable: number,
): Promise<VerifyRange[]> {
  const parts = Math.ceil(rows / RANGE_ROWS)
  if (parts <= 1) return [whole]
  const { leaves } = await readLeaves(connection, definition)
  const blocks = leaves.reduce((sum, leaf) => sum + leaf.blocks, 0)
  // A sample of all blocks, of which those before the range's begin are read in vain.
  const share = sampleShare(Math.ceil((parts * rowsOfTable) / rows), blocks)
  return await cutRange(connection.query, source, whole, parts, share)
}
