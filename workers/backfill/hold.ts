import { MillraceError } from '../../lib/errors.ts'
import { around } from '../../lib/failpoints.ts'
import { sleep } from '../../lib/sleep.ts'
import type { LedgerBackfill } from '../destination/ledger.ts'
import { isMember } from '../source/publication.ts'
import { tableLabel } from '../source/table.ts'
import { waitForWriters, writeHold } from '../source/watermark.ts'
import type { Attempt } from './context.ts'
import { holdPatience } from './decisions.ts'

const MEMBERSHIP_POLL_MILLISECONDS = 1_000

/** How long writers that are in the way may take, before the attempt counts as failed (rule R2). */
const WRITERS_DEADLINE_MILLISECONDS = 60 * 60 * 1000

/** How often the ledger is asked when status says nothing; a destination that is billed by the minute is left alone more. */
const LEDGER_POLL_MILLISECONDS = { postgres: 2_000, redshift: 30_000 } as const

/**
 * Writes the hold, and again when nothing comes of it (rule R4), until the ledger has a row for this backfill, which it
 * returns. Everything that rule R2 asks for is done before every hold, not only the first.
 */
export async function obtainHold(attempt: Attempt): Promise<LedgerBackfill> {
  for (let written = 0; ; written += 1) {
    await waitForMembership(attempt)
    await waitForOlderWriters(attempt)
    if (!(await tryHold(attempt))) continue
    const row = await waitForLedger(attempt, holdPatience(written))
    if (row) return row
    attempt.log.warn({ written: written + 1 }, 'The hold had no effect yet, writing it again')
  }
}

async function waitForMembership({ control, names, settings, report, signal }: Attempt): Promise<void> {
  while (!(await isMember(control, names.publication, settings.table))) {
    report.stage(
      'WaitingForPublication',
      `waiting for capture to add table ${tableLabel(settings.table)} to publication ${names.publication}`,
    )
    await sleep(MEMBERSHIP_POLL_MILLISECONDS, signal)
  }
}

async function waitForOlderWriters({ control, definition, report, signal }: Attempt): Promise<void> {
  report.stage('WaitingForWriters')
  await waitForWriters(control, definition, {
    signal,
    deadlineMilliseconds: WRITERS_DEADLINE_MILLISECONDS,
    onWait: (_transactions, message) => report.waiting(message),
  })
}

/** False when the table has left the publication in the meantime. */
async function tryHold(attempt: Attempt): Promise<boolean> {
  const { control, names, settings, uid, name, report } = attempt
  report.stage('Holding')
  try {
    const mark = { uid, name, table: settings.table, action: settings.action }
    await around('watermark.hold', () => writeHold(control, names, mark))
    return true
  } catch (error) {
    if (error instanceof MillraceError && error.code === 'TableNotFound') return false
    throw error
  }
}

async function waitForLedger(attempt: Attempt, milliseconds: number): Promise<LedgerBackfill | undefined> {
  const { destination, uid, own, report, signal } = attempt
  report.waiting('waiting for apply to read the hold from the queue and to pause the table')
  const deadline = performance.now() + milliseconds
  for (;;) {
    const row = await destination.ledger.readBackfill(uid, signal)
    if (row) return row
    const left = deadline - performance.now()
    if (left <= 0) return undefined
    await own.queueChanged(Math.min(left, LEDGER_POLL_MILLISECONDS[destination.kind]), signal)
  }
}
