import { MillraceError } from '../../lib/errors.ts'
import { failpoint } from '../../lib/failpoints.ts'
import { sleep } from '../../lib/sleep.ts'
import type { Fence, LedgerBackfill } from '../destination/ledger.ts'
import type { Connection } from '../source/connect.ts'
import { isSameServer } from '../source/identity.ts'
import { formatLSN } from '../source/lsn.ts'
import { readScanFacts, readSortOrders } from '../source/scan-facts.ts'
import { chooseScan } from '../source/scan-plan.ts'
import type { ExportedSnapshot } from '../source/scan-snapshot.ts'
import { type TableDefinition, tableLabel } from '../source/table.ts'
import type { Attempt } from './context.ts'
import { checkWhole, copyChunks } from './copy.ts'
import { makePlan, type Survey } from './plan.ts'
import { proveServer, type ScanServer } from './server.ts'
import { chooseServer } from './settings.ts'

/** Between two rounds, so that a server that comes and goes does not make them spin. */
const PAUSE_MILLISECONDS = 500

/**
 * Copies a held table from wherever the ledger says that earlier attempts got to, and records *copied*.
 *
 * The destination is acted on only once the server to be scanned has everything and can be read (invariant I8): a replica
 * that is hours behind must not leave the destination empty for hours.
 */
export async function copyTable(attempt: Attempt): Promise<LedgerBackfill> {
  const { destination, uid, report, signal } = attempt
  let row = await destination.ledger.beginAttempt(uid, signal)
  attempt.progressed()
  const fence: Fence = { uid, attempt: row.attempt }
  report.facts({ attempt: row.attempt, holdLSN: formatLSN(row.holdLSN), actionDone: row.actionDone })
  const held = createHeldSnapshot()
  let before: TableDefinition | undefined
  let rewritten = false
  try {
    for (;;) {
      const server = await proveServer(attempt, row.holdLSN)
      await held.keepOn(server)
      const { current, survey } = await surveyOn(attempt, server)
      await failpoint('backfill.proven')
      row = await act(current, row, fence)
      const isVoid = rewritten || hasOtherKey(before, current.definition)
      before = current.definition
      const start = await whereToStart(current, row, isVoid, held.usable())
      if (start !== 'resume') {
        await held.release()
        const planned = await makePlan(current, server, survey, { row, fence, discard: start === 'empty' })
        row = planned.row
        held.take(planned.snapshot, server)
      }
      const outcome = await copyChunks(current, { server, row, fence, snapshot: held.usable() })
      if (outcome === 'complete') return await destination.ledger.recordCopied(fence, signal)
      rewritten = outcome === 'replan'
      await sleep(PAUSE_MILLISECONDS, signal)
    }
  } finally {
    await held.release()
  }
}

/** What the table is like where a session leads, and how it would be cut there; throws what stands against it. */
export async function surveyTable(attempt: Attempt, connection: Connection): Promise<Survey> {
  const { control, definition, destination, settings } = attempt
  const sortOrders = await readSortOrders(control, definition)
  const facts = await readScanFacts(connection, definition, destination.columnExpression, sortOrders)
  const keyed = definition.key.length > 0
  return { facts, scan: chooseScan({ ...settings.scan, scan: settings.scan.value, keyed }, facts) }
}

/**
 * The survey on the proven server, and the attempt with the definition that is found there.
 *
 * Only a definition that is read after the proof has every column that was there at the hold. One from before may lack a column
 * that was added and filled while the hold was waited for: no chunk would have it, and no queued change, because what lies before
 * the hold is left to the scan. Columns that are younger than this definition are in the queue (rule R19).
 */
async function surveyOn(
  attempt: Attempt,
  server: ScanServer,
): Promise<{ readonly current: Attempt; readonly survey: Survey }> {
  const connection = await server.connect(attempt.signal)
  try {
    await server.assertCurrent(connection)
    const definition = await attempt.readDefinition(connection)
    assertReadFrom(attempt, definition)
    const current = { ...attempt, definition }
    const survey = await surveyTable(current, connection)
    attempt.report.facts({ rowsEstimated: survey.facts.rows })
    return { current, survey }
  } finally {
    await connection.close()
  }
}

/** What the server was chosen by may have changed while the hold was waited for; the next attempt chooses anew. */
function assertReadFrom({ settings, replicas, readFrom }: Attempt, definition: TableDefinition): void {
  const needed = chooseServer(settings, definition, replicas.length)
  if (needed === readFrom || needed === 'Replica') return
  throw new MillraceError(
    'TableChanged',
    `table ${tableLabel(definition)} has lost its key and must be read from the primary`,
    { retryable: true },
  )
}

/** The destination action, once (invariant I8); after it the table is made to fit what the source's has become. */
async function act(attempt: Attempt, row: LedgerBackfill, fence: Fence): Promise<LedgerBackfill> {
  if (row.actionDone) {
    await conform(attempt)
    return row
  }
  const { destination, settings, definition, report, log, signal } = attempt
  report.stage('ActingOnDestination')
  const { target, options } = settings
  const request = { fence, backfill: row, target, definition, options }
  const { backfill, warnings } = await destination.runAction(request, signal)
  for (const warning of warnings) log.warn({ warning }, 'The destination action had a side effect')
  report.warn(warnings)
  report.facts({ actionDone: true })
  attempt.progressed()
  return backfill
}

/**
 * A type may have been widened in place since the action. Makes no table: of one that is gone the next chunk will tell, and
 * what was loaded into it must not be taken for copied.
 */
async function conform({ destination, settings, definition, signal }: Attempt): Promise<void> {
  const { target, options } = settings
  if (!(await destination.inspectTable(target, signal)).exists) return
  await destination.ensureTable(target, definition, options, signal)
}

/**
 * Whether the recorded plan can be gone on with. The rows of a table without a key are all read under one snapshot or
 * not at all: without it what was loaded is void (rule R14).
 *
 * @param isVoid its ranges mean nothing any more
 */
async function whereToStart(
  attempt: Attempt,
  row: LedgerBackfill,
  isVoid: boolean,
  snapshot: ExportedSnapshot | undefined,
): Promise<'plan' | 'empty' | 'resume'> {
  if (row.plan === 0) return 'plan'
  const { destination, definition, uid, signal } = attempt
  const keyed = definition.key.length > 0
  if (keyed) return isVoid ? 'plan' : 'resume'
  if (snapshot && !isVoid) return 'resume'
  const chunks = await destination.ledger.readChunks(uid, row.plan, signal)
  return checkWhole(attempt, chunks) && chunks.every((chunk) => chunk.state !== 'planned')
    ? 'resume'
    : 'empty'
}

/**
 * Whether ranges of the key that was there before would be looked for in another one. From an earlier attempt's key nobody knows,
 * but such a table does not end in silence: capture stops it (rule R20).
 */
function hasOtherKey(before: TableDefinition | undefined, now: TableDefinition): boolean {
  return before !== undefined && JSON.stringify(before.key) !== JSON.stringify(now.key)
}

/** The plan's snapshot, for as long as it lives and the server that it was taken on is the one that is read. */
function createHeldSnapshot() {
  let held: { readonly snapshot: ExportedSnapshot; readonly server: ScanServer } | undefined
  async function release(): Promise<void> {
    const { snapshot } = held ?? {}
    held = undefined
    await snapshot?.release()
  }
  return {
    take(snapshot: ExportedSnapshot | undefined, server: ScanServer): void {
      held = snapshot && { snapshot, server }
    },
    async keepOn(server: ScanServer): Promise<void> {
      if (held && !isSameServer(held.server.identity, server.identity)) await release()
    },
    usable: () => (held && !held.snapshot.lost.aborted ? held.snapshot : undefined),
    release,
  }
}
