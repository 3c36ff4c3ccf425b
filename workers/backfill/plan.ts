import { MillraceError } from '../../lib/errors.ts'
import type { ChunkPlan, ChunkRange, Fence, LedgerBackfill } from '../destination/ledger.ts'
import type { Connection } from '../source/connect.ts'
import { readLeaves } from '../source/scan-facts.ts'
import {
  blockRanges,
  chunkCount,
  keyRanges,
  type Leaf,
  type ScanFacts,
  sampleShare,
} from '../source/scan-plan.ts'
import { type ExportedSnapshot, exportSnapshot } from '../source/scan-snapshot.ts'
import { boundariesQuery } from '../source/scan-sql.ts'
import type { TableDefinition } from '../source/table.ts'
import type { Attempt } from './context.ts'
import type { ScanServer } from './server.ts'

/** A plan in the ledger, with the snapshot that it is read under while that lives. */
export interface Planned {
  readonly row: LedgerBackfill
  readonly snapshot: ExportedSnapshot | undefined
}

/** What the table is like on the server that is read, and how it is to be cut. */
export interface Survey {
  readonly facts: ScanFacts
  readonly scan: 'Key' | 'Ctid'
}

export interface PlanRequest {
  readonly row: LedgerBackfill
  readonly fence: Fence
  /** What an earlier plan has loaded is void and goes (rule R14). */
  readonly discard: boolean
}

/** Cuts the table into chunks and records them (rules R7, R11), before any of them is read. */
export async function makePlan(
  attempt: Attempt,
  server: ScanServer,
  { facts, scan }: Survey,
  { row, fence, discard }: PlanRequest,
): Promise<Planned> {
  const { report, settings, definition, destination, signal } = attempt
  report.stage('Planning')
  const keyed = definition.key.length > 0
  // Rows of an earlier plan may be there, and some may still be on their way.
  const blank = row.append && (row.plan === 0 || discard)
  const parts = chunkCount(facts, settings)
  const connection = await server.connect(signal)
  let snapshot: ExportedSnapshot | undefined
  try {
    await server.assertCurrent(connection)
    const ranges =
      scan === 'Key'
        ? await keyPlan(connection, definition, facts, parts)
        : wholeIfNone(blockRanges(facts.leaves, parts))
    // Rows that are written over others need no common snapshot, and a replica is better off without one that lives long.
    if (scan === 'Ctid' && (blank || !keyed)) {
      snapshot = await snapshotOfFiles(server, connection, definition, facts.leaves, signal)
    }
    // A row that moved between blocks is in two chunks that have no common snapshot.
    const append = blank && (scan === 'Key' || snapshot !== undefined)
    const plan: ChunkPlan = {
      plan: row.plan + 1,
      scan,
      snapshot: snapshot?.id ?? '',
      visibility: keyed ? '' : (snapshot?.visibility ?? ''),
      append,
      ranges,
      ...(discard ? { discard: settings.target } : {}),
    }
    const planned = await destination.ledger.recordPlan(fence, plan, signal)
    report.facts({ scan })
    attempt.log.info({ scan, plan: plan.plan, chunks: ranges.length, rows: facts.rows, append }, 'Planned')
    attempt.progressed()
    if (snapshot === undefined) await connection.close()
    return { row: planned, snapshot }
  } catch (error) {
    await (snapshot ? snapshot.release() : connection.close())
    throw error
  }
}

async function keyPlan(
  connection: Connection,
  definition: TableDefinition,
  facts: ScanFacts,
  parts: number,
): Promise<ChunkRange[]> {
  if (parts === 1 || facts.rows === 0) return keyRanges([])
  const blocks = facts.leaves.reduce((sum, leaf) => sum + leaf.blocks, 0)
  const share = sampleShare(parts, blocks)
  const rows = await connection.query(boundariesQuery(definition, share !== undefined), [
    String(parts),
    ...(share === undefined ? [] : [String(share)]),
  ])
  return keyRanges(rows.map((row) => definition.key.map((_, index) => row[`k${index + 1}`] ?? '')))
}

/**
 * A snapshot that sees the files that the plan is about. Their numbers were read before it was taken and are compared after: a
 * snapshot older than a rewriting ALTER TABLE would see nothing in the new file (rule R12). Undefined where a replica has none to share.
 */
async function snapshotOfFiles(
  server: ScanServer,
  connection: Connection,
  definition: TableDefinition,
  planned: readonly Leaf[],
  signal: AbortSignal,
): Promise<ExportedSnapshot | undefined> {
  await server.assertCurrent(connection)
  const snapshot = await exportSnapshot(connection, signal)
  if (snapshot === undefined) return undefined
  const { leaves } = await readLeaves(connection, definition)
  const files = (list: readonly Leaf[]) =>
    list.map((leaf) => `${leaf.schema}.${leaf.name}:${leaf.filenode}`).join()
  if (files(leaves) === files(planned)) return snapshot
  await snapshot.release()
  throw new MillraceError('TableRewritten', 'the table was rewritten while it was planned')
}

// A partitioned table without partitions has nothing to read, but a plan has at least one chunk.
function wholeIfNone(ranges: ChunkRange[]): ChunkRange[] {
  return ranges.length > 0 ? ranges : [{ kind: 'all' }]
}
