import { MillraceError, toMillraceError } from '../../lib/errors.ts'
import { sleep } from '../../lib/sleep.ts'
import type { TargetFacts } from '../destination/destination.ts'
import type { LedgerTable } from '../destination/ledger.ts'
import { tableLabel } from '../source/table.ts'
import { type ApplyEnv, listedTable } from './env.ts'
import { lostFacts } from './facts.ts'
import {
  type Baseline,
  changedFacts,
  EMPTIED,
  judgeTarget,
  mayBeEmptied,
  type Tampering,
  tampered,
} from './ledger-check.ts'
import type { TableState } from './state.ts'
import type { TableWorker } from './table.ts'

/** Within a minute together with the time that status and operator take, milliseconds. */
const LOOK = 40_000
const AGAIN = 10_000

/**
 * Notices what is done to the ledger and to destination tables by hand while nothing else would: a table that gets no
 * changes is never written to. Not for a destination that is billed while it is asked: there only what the next
 * write runs into is noticed.
 *
 * @param report takes why it cannot look at present; undefined: it can
 */
export async function watchLedger(
  env: ApplyEnv,
  workers: ReadonlyMap<string, TableWorker>,
  report: (error: MillraceError | undefined) => void,
  signal: AbortSignal,
): Promise<void> {
  const { describeTables, ledger } = env.destination
  if (!describeTables) return
  const baselines = new Map<string, Baseline>()
  for (let failures = 0; ; ) {
    try {
      await look()
      failures = 0
      report(undefined)
    } catch (thrown) {
      signal.throwIfAborted()
      const error = toMillraceError(thrown)
      failures += 1
      // Who has nothing to write would say nothing. A connection may break; that passes.
      if (!error.retryable || failures > 1) report(notSeen(error))
      env.log.debug({ reason: error.message }, 'The destination could not be looked at')
    }
    await sleep(failures > 0 ? AGAIN : LOOK, signal)
  }

  async function look(): Promise<void> {
    // What somebody has dropped is made anew, and then the rows that are not in it are missed.
    await ledger.open(signal)
    const before = new Map([...workers.values()].map(({ state }) => [state.label, markOf(state)]))
    const rows = new Map((await ledger.readTables(signal)).map((row) => [tableLabel(row.table), row]))
    const targets = [...workers.values()].flatMap(({ state }) => state.row?.destination ?? [])
    const found = await describeTables?.(targets, signal)
    for (const worker of workers.values()) {
      const { state } = worker
      const { label, row: known } = state
      const mark = before.get(label)
      // Somebody is at work on it: the next look will do.
      if (!known || known.state === 'left' || mark !== markOf(state)) {
        baselines.delete(label)
        continue
      }
      const row = rows.get(label)
      if (!row) {
        worker.failed(new MillraceError('LedgerConflict', `the ledger has no row of table ${label} any more`))
        continue
      }
      // What its backfill does to the table and to the row is not known here.
      if (known.heldBy !== '') {
        baselines.delete(label)
        continue
      }
      // Another pod has written it, and perhaps the table. This one takes it up when it has to.
      if (row.version > known.version) {
        baselines.delete(label)
        continue
      }
      const changed = changedFacts(known, row)
      if (changed.length > 0) {
        const what = `${changed.join(', ')} of the table's row in the ledger ${changed.length === 1 ? 'was' : 'were'} changed by hand`
        await tell(worker, tampered('LedgerChanged', what))
        continue
      }
      const target = found?.get(tableLabel(known.destination))
      const baseline = baselines.get(label)
      const tampering =
        judgeTarget(known, baseline, target, mark ?? '', await wanted(state, baseline, target)) ??
        (await wasEmptied(known, baseline, target, mark))
      if (target) baselines.set(label, { target, mark: mark ?? '', version: known.version })
      else baselines.delete(label)
      if (tampering && !known.needsEmptying) await tell(worker, tampering)
    }
  }

  /** Columns that are replicated; of a table that got no change yet only the source knows them, asked when one is gone. */
  async function wanted(
    { table, columns }: TableState,
    baseline: Baseline | undefined,
    target: TargetFacts | undefined,
  ): Promise<readonly string[]> {
    if (columns.length > 0 || !baseline || !target) return columns
    if (baseline.target.columns.every((name) => target.columns.includes(name))) return columns
    const filter = listedTable(env.spec(), table)?.columns
    const definition = await env.source.definition(table, filter, signal)
    return definition?.columns.map(({ name }) => name) ?? []
  }

  async function wasEmptied(
    row: LedgerTable,
    baseline: Baseline | undefined,
    target: TargetFacts | undefined,
    mark: string | undefined,
  ): Promise<Tampering | undefined> {
    if (!mayBeEmptied(row, baseline, target, mark ?? '')) return undefined
    const reshaped = baseline?.target.shape !== target?.shape
    return (await env.destination.wasEmptied?.(row.destination, reshaped, signal)) ? EMPTIED : undefined
  }

  /** What was written by hand is put right, and what may follow from it is recorded. */
  async function tell(worker: TableWorker, { code, message }: Tampering): Promise<void> {
    const { state } = worker
    const { row: known } = state
    if (!known) return
    env.log.error({ table: state.label, code, reason: message }, 'Changed by hand')
    const { pipeline: _, table: __, destination: ___, version: ____, ...facts } = known
    const lost = known.state === 'stopped' ? {} : lostFacts(code, message)
    state.row = await ledger.updateTable(known, { ...facts, ...lost }, signal)
    env.changed(true)
    worker.failed(new MillraceError('LedgerConflict', message))
  }
}

function notSeen({ code, message, field = 'spec.destination', retryable }: MillraceError): MillraceError {
  const what = `whether ledger and destination tables were changed by hand cannot be seen: ${message}`
  return new MillraceError(code, what, { field, retryable })
}

/** Another one whenever Millrace itself has emptied the table or given it away. */
function markOf(state: TableState): string {
  return `${state.emptied} ${state.row?.heldBy ?? ''}`
}
