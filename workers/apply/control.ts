import type { LedgerBackfill, LedgerTable } from '../destination/ledger.ts'
import type { ControlLine, HoldLine, ReleaseLine } from '../queue/format.ts'
import { parseLSN } from '../source/lsn.ts'
import type { Position } from '../source/position.ts'
import type { ApplyEnv } from './env.ts'
import {
  controlFacts,
  DRAINED,
  endsDraining,
  type FactChange,
  queueLost,
  stopFacts,
  whyEnded,
} from './facts.ts'
import { type Ending, judgeHold, judgeKnownHold } from './hold.ts'
import type { TableState } from './state.ts'
import type { StreamEnd } from './stream.ts'

/** What stands between the changes of a table, and what to do about it. */
export interface ControlContext {
  readonly env: ApplyEnv
  readonly state: TableState
  readonly signal: AbortSignal
  row(): LedgerTable
  setRow(row: LedgerTable): void
  /** Everything before is durable afterwards. */
  barrier(): Promise<void>
  /** Where reading begins again as long as the control line is not passed. */
  doneOffset(): bigint
  /** Where it begins again once the line is passed. */
  readonly nextOffset: bigint
  /** Facts that wait to be written with the next change of the row. */
  takeFacts(): FactChange
  /** Writes what is gathered, and in the same transaction that the backfill is drained. */
  drain(uid: string, position: Position, facts: FactChange): Promise<void>
  /** The backfills that are being drained have changed. */
  refresh(): void
}

/** A release that does not come is written again after this, then after twice as long, and so on, milliseconds (rule R4). */
const RELEASE_PATIENCE = 15_000
const RELEASE_PATIENCE_MAX = 300_000
/** A table that was removed before it ever joined gets no line that says it left. */
const GONE_PATIENCE = 15_000

/**
 * Closes the copies of a table that were not drained: they are worthless from here on. They are to be reported once the
 * table's own row says so too.
 */
export async function endDraining(
  env: ApplyEnv,
  state: TableState,
  { code, message }: Ending,
  signal: AbortSignal,
): Promise<LedgerBackfill[]> {
  const closed: LedgerBackfill[] = []
  for (const { uid, name, table, action } of state.draining) {
    const facts = { uid, name, table, action, code, message, evenCopied: true as const }
    closed.push(await env.destination.ledger.closeBackfill(facts, signal))
  }
  state.draining = []
  return closed
}

export function passControl(context: ControlContext) {
  const { env, state, signal } = context
  const { ledger } = env.destination

  async function update(position: Position, nextOffset: bigint, facts: FactChange): Promise<void> {
    const patch = { ...context.takeFacts(), ...facts, position, nextOffset }
    context.setRow(await ledger.updateTable(context.row(), patch, signal))
    env.changed(true)
  }

  async function hold(line: HoldLine, position: Position, at: number): Promise<StreamEnd | undefined> {
    await context.barrier()
    const known = await ledger.readBackfill(line.uid, signal)
    if (known) env.sawBackfill(known)
    const verdict = judgeKnownHold(known, context.row()) ?? (await ask(line))
    if (verdict.do === 'pass') return undefined
    const { uid, name, action } = line
    if (verdict.do === 'close') {
      const { table } = state
      env.sawBackfill(await ledger.closeBackfill({ uid, name, table, action, ...verdict.why }, signal))
      env.changed(true)
      return undefined
    }
    const facts = context.takeFacts()
    if (Object.keys(facts).length > 0) context.setRow(await ledger.updateTable(context.row(), facts, signal))
    const holdOffset = context.doneOffset()
    const held = { uid, name, action, holdLSN: parseLSN(line.lsn), holdOffset, position }
    context.setRow(await ledger.recordHeld(context.row(), held, signal))
    state.oldestAt = at
    return 'held'
  }

  async function ask(line: HoldLine) {
    const [object, scope] = await Promise.all([
      env.freshBackfill(line.name, signal),
      env.freshScope(state.table, signal),
    ])
    return judgeHold(line, object, context.row(), scope)
  }

  async function release(line: ReleaseLine, position: Position): Promise<void> {
    const backfill = await copied(line.uid)
    if (!backfill) return
    const { needsEmptying, state: tableState } = context.row()
    // Something was lost behind the hold, so that the copy is not what the table was (rule R22).
    if (needsEmptying || tableState !== 'active') {
      const closed = await endDraining(
        env,
        state,
        {
          code: 'SlotLost',
          message:
            'changes were lost before the copy was drained: apply a TableBackfill with destinationTable Truncate or Drop',
        },
        signal,
      )
      context.refresh()
      for (const each of closed) env.sawBackfill(each)
      return
    }
    await context.drain(line.uid, position, DRAINED)
    state.draining = state.draining.filter(({ uid }) => uid !== line.uid)
    context.refresh()
    env.sawBackfill({ ...backfill, state: 'drained' })
    env.changed(true)
  }

  async function copied(uid: string): Promise<LedgerBackfill | undefined> {
    const found = await ledger.readBackfill(uid, signal)
    if (found) env.sawBackfill(found)
    return found?.state === 'copied' ? found : undefined
  }

  return {
    /** Passes a line, or says why it cannot be passed. */
    async line(line: ControlLine, position: Position, at: number): Promise<StreamEnd | undefined> {
      if (line.control === 'hold') return await hold(line, position, at)
      if (line.control === 'release') {
        await release(line, position)
        return undefined
      }
      // Before the line is judged: by the ledger's row nothing was ever applied while the first rows wait to be written.
      await context.barrier()
      if (line.control === 'mark') {
        await update(position, context.nextOffset, {})
        return undefined
      }
      const facts = controlFacts(line, context.row())
      const leaves = line.control === 'leave' && !env.seenScope(state.table).listed
      if (Object.keys(facts).length > 0) {
        const ends = endsDraining(line, context.row())
        const closed = ends ? await endDraining(env, state, whyEnded(line), signal) : []
        context.refresh()
        await update(position, context.nextOffset, facts)
        for (const each of closed) env.sawBackfill(each)
      } else if (leaves) {
        await update(position, context.nextOffset, {})
      }
      return leaves ? 'left' : undefined
    },

    /** Records are gone that were not applied (rule R24): the table stops. */
    async lost(what: string, nextOffset: bigint, incarnation: string | undefined): Promise<StreamEnd> {
      const why = queueLost(what)
      env.log.error({ table: state.label, reason: what }, 'Queue lost')
      const closed = await endDraining(env, state, why, signal)
      const row = context.row()
      const facts = row.state === 'stopped' ? {} : stopFacts(why.code, why.message)
      const place = { nextOffset, incarnation: incarnation ?? (nextOffset === 0n ? '' : row.incarnation) }
      context.takeFacts()
      context.setRow(await ledger.updateTable(row, { ...facts, ...place }, signal))
      for (const each of closed) env.sawBackfill(each)
      env.changed(true)
      return 'again'
    },

    /** Everything in the queue is applied: what should have come and did not? */
    async atEnd(): Promise<StreamEnd | undefined> {
      const { listed, published } = env.seenScope(state.table)
      if (listed || published) state.goneSince = undefined
      else state.goneSince ??= performance.now()
      if (state.goneSince !== undefined && performance.now() - state.goneSince > GONE_PATIENCE) return 'left'
      for (const { uid } of state.draining) {
        if (!isReleaseOverdue(uid)) continue
        env.log.warn({ table: state.label, uid }, 'The release has not come, writing it again')
        await env.source.writeRelease(uid, state.table, signal)
      }
      return undefined
    },
  }

  function isReleaseOverdue(uid: string): boolean {
    const now = performance.now()
    const entry = state.releases.get(uid) ?? { since: now, written: 0 }
    state.releases.set(uid, entry)
    const patience = Math.min(RELEASE_PATIENCE_MAX, RELEASE_PATIENCE * 2 ** entry.written)
    if (now - entry.since < patience) return false
    entry.since = now
    entry.written += 1
    return true
  }
}
