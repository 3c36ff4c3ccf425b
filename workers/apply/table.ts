import { createBackoff } from '../../lib/backoff.ts'
import { type MillraceError, toMillraceError } from '../../lib/errors.ts'
import type { LedgerBackfill, LedgerTable } from '../destination/ledger.ts'
import { destinationTable } from '../destination/names.ts'
import type { QueueRecord, TopicOffsets } from '../queue/queue.ts'
import { tableTopic } from '../queue/topics.ts'
import type { TableName } from '../source/table.ts'
import { type Ahead, lookAhead } from './ahead.ts'
import { createBell } from './bell.ts'
import { endDraining } from './control.ts'
import { isCureUnderWay } from './cure.ts'
import { type ApplyEnv, listedTable } from './env.ts'
import { isReturning, isUntouched, LEFT, lostFacts, stopFacts } from './facts.ts'
import { waitForHoldEnd } from './hold-wait.ts'
import { LEDGER_ROW_GONE } from './ledger-check.ts'
import { endOrphans, freeHeld } from './orphans.ts'
import { tellSlow } from './slow.ts'
import { createState, type TableState, takeRow } from './state.ts'
import { createStream, type Stream } from './stream.ts'
import { isStuck } from './stuck.ts'

/** One table, for as long as apply has to do with it. */
export interface TableWorker {
  readonly state: TableState
  readonly topic: string
  push(record: QueueRecord): void
  reached(end: bigint): void
  lost(wanted: bigint, offsets: TopicOffsets | undefined): void
  failed(error: MillraceError): void
  /** Something outside has changed: the Pipeline, a TableBackfill. */
  wake(): void
  relieve(): void
  isBusy(): boolean
  incompleteBytes(): number
  /** Resolves when the table has been given free, or the signal aborts. Never rejects. */
  readonly done: Promise<void>
}

const RETRY_MIN = 500
const RETRY_MAX = 60_000
const TOPIC_POLL = 2_000

/** What was read from the ledger for all tables at once, so that not each of them has to. */
export interface KnownFacts {
  readonly row: LedgerTable | undefined
  readonly backfills: readonly LedgerBackfill[]
}

/** @param facts what the ledger has said just now; undefined = it has to be asked */
export function startTable(
  env: ApplyEnv,
  table: TableName,
  facts: KnownFacts | undefined,
  signal: AbortSignal,
): TableWorker {
  const { ledger } = env.destination
  const state = createState(table)
  const topic = facts?.row?.topic ?? tableTopic(env.prefix, table)
  let known = facts
  const bell = createBell()
  let stream: Stream | undefined
  let ahead: Ahead | undefined
  state.row = facts?.row

  const isListed = () => listedTable(env.spec(), table) !== undefined

  /** The table's ledger row; undefined when there is nothing to do with the table any more. */
  async function openRow(): Promise<LedgerTable | undefined> {
    const row = known ? known.row : await ledger.readTable(table, signal)
    if (!isListed() || env.isDeleting()) return row
    const destination = destinationTable(env.spec(), table)
    const same =
      row && row.destination.schema === destination.schema && row.destination.name === destination.name
    if (same) return row
    // Read before the row that the claim returns, which may be one that another pod has worked on.
    known = undefined
    const { exists, empty } = await env.destination.inspectTable(destination, signal)
    const historyComplete = listedTable(env.spec(), table)?.initialBackfill === 'Skip'
    const claim = { table, destination, topic, historyComplete, unknownHistory: exists && !empty }
    const claimed = await ledger.claimTable(claim, signal)
    if (row || !isLedgerRowLost(claimed)) return claimed
    const { code, message } = LEDGER_ROW_GONE
    env.log.error({ table: state.label, code, reason: message }, 'Changed by hand')
    return await ledger.updateTable(claimed, lostFacts(code, message), signal)
  }

  /** The table was streamed before, as this process or the last one knows, and the ledger has forgotten it. */
  function isLedgerRowLost(claimed: LedgerTable): boolean {
    return isUntouched(claimed) && (state.row !== undefined || env.wasApplied(table))
  }

  /** Takes up the table where the ledger stands. Returns when the table is given free. */
  async function attempt(): Promise<void> {
    let row = await tellSlow(env, state, openRow().then(recall))
    takeRow(state, row)
    if (!row) return
    row = await endOrphans(env, state, row, await tellSlow(env, state, findBackfills()), signal)
    known = undefined
    for (;;) {
      if (env.isDeleting()) {
        if (await giveUp(row)) return
        await bell.wait(TOPIC_POLL, signal)
        continue
      }
      if (row.heldBy !== '') {
        const { heldBy } = row
        await waitHeld(row)
        row = await reload()
        if (!row) return
        if (row.heldBy === heldBy) row = await freeHeld(env, state, row, signal)
        await findBackfills()
        continue
      }
      if (!isListed() && row.state === 'left') {
        if (await giveFree(row)) return
        continue
      }
      state.paused = !env.isRunning()
      if (state.paused) {
        env.changed(true)
        await bell.wait(RETRY_MAX, signal)
        continue
      }
      const start = await findStart(row)
      if (!state.row) return
      row = state.row
      if (start === undefined) continue
      stream = createStream(env, state, row, start)
      const ended = await stream.run(signal).finally(() => {
        stream = undefined
      })
      if (!state.row) return
      row = state.row
      env.changed(true)
      if (ended === 'left' && (await giveFree(row))) return
    }
  }

  /**
   * What is known of a table that comes back is known before the first word about it: a backfill is made as soon as it is
   * reported, and one that does not empty it would be made in vain, and lose its place in the line.
   */
  async function recall(row: LedgerTable | undefined): Promise<LedgerTable | undefined> {
    if (row?.incarnation !== '' || row.heldBy !== '' || !row.unknownHistory || row.needsEmptying) return row
    const offsets = await env.queue.offsets(row.topic, signal)
    return offsets && isReturning(row, offsets) ? await tellReturn(row) : row
  }

  async function tellReturn(row: LedgerTable): Promise<LedgerTable> {
    return await ledger.updateTable(row, lostFacts('PublicationChanged', LEFT), signal)
  }

  async function waitHeld(row: LedgerTable): Promise<void> {
    ahead = lookAhead(env, state, row, bell.ring)
    try {
      await waitForHoldEnd(env, state, row, ahead, bell, signal)
    } finally {
      ahead.close()
      ahead = undefined
    }
  }

  async function reload(): Promise<LedgerTable | undefined> {
    takeRow(state, await ledger.readTable(table, signal))
    return state.row
  }

  /**
   * To be asked after the table's row, never before: of a row that is free the copy is then known that has freed it, and what it
   * has seen (rule R14). Had both moved on since, the row could not be written.
   */
  async function findBackfills(): Promise<readonly LedgerBackfill[]> {
    const own = known ? known.backfills : await ledger.readBackfills(table, signal)
    for (const backfill of own) env.sawBackfill(backfill)
    state.draining = own.filter((backfill) => backfill.state === 'copied')
    return own
  }

  /** Offset to begin at; undefined when the topic is not there yet, after a while. */
  async function findStart(row: LedgerTable): Promise<bigint | undefined> {
    if (row.incarnation !== '') return row.nextOffset
    // Nothing of this topic was ever applied, so that whatever it begins with is the beginning.
    const offsets = await env.queue.offsets(row.topic, signal)
    if (offsets) {
      if (isReturning(row, offsets)) state.row = await tellReturn(row)
      return offsets.earliest > row.nextOffset ? offsets.earliest : row.nextOffset
    }
    if (!isListed() && !env.seenScope(table).published) {
      await giveFree(row)
      return undefined
    }
    state.waiting = 'waiting for capture to make its topic'
    env.changed(false)
    await bell.wait(TOPIC_POLL, signal)
    return undefined
  }

  /**
   * The table has left the Pipeline: the destination table may belong to another one. What the topic still has is deleted
   * before, so that it is not applied again should the table come back. The API server is asked first: the Pipeline that was
   * seen may be an old one, and the row be somebody's who goes on with it. False: not yet.
   */
  async function giveFree(row: LedgerTable): Promise<boolean> {
    const { listed, published, deleting } = await env.freshScope(table, signal)
    if (!deleting && (listed || (published && row.state === 'active'))) {
      state.goneSince = undefined
      await bell.wait(TOPIC_POLL, signal)
      return false
    }
    if (row.incarnation !== '') await env.queue.deleteBefore(row.topic, row.nextOffset, signal)
    await ledger.releaseTable(row, signal)
    env.log.info({ table: state.label }, 'Table left the Pipeline, destination table given free')
    state.row = undefined
    env.metrics.remove(table)
    env.changed(true)
    return true
  }

  /** The Pipeline is being deleted: ends what is held. */
  async function giveUp(row: LedgerTable): Promise<boolean> {
    const scope = await env.freshScope(table, signal)
    if (!scope.deleting) return false
    if (row.heldBy !== '') await waitHeld(row)
    const now = await reload()
    if (now) {
      await emptyTopic(now.topic)
      await ledger.releaseTable(now, signal)
    }
    state.row = undefined
    return true
  }

  /** What nobody applies any more must not be applied by a Pipeline of the same name, rows that were deleted since among it. */
  async function emptyTopic(topic: string): Promise<void> {
    try {
      const offsets = await env.queue.offsets(topic, signal)
      if (offsets && offsets.end > 0n) await env.queue.deleteBefore(topic, offsets.end, signal)
    } catch (thrown) {
      signal.throwIfAborted()
      env.log.warn({ topic, err: thrown }, 'Records of a deleted Pipeline stay in its topic')
    }
  }

  /** A backfill that empties the table is under way: the change that could not be applied is left out (rule R21). */
  async function stop(error: MillraceError): Promise<void> {
    const row = await reload()
    if (!row || row.state === 'stopped' || row.heldBy !== '') return
    const closed = await endDraining(env, state, error, signal)
    state.row = await ledger.updateTable(row, stopFacts(error.code, error.message), signal)
    for (const backfill of closed) env.sawBackfill(backfill)
  }

  async function recover(error: MillraceError, delay: number): Promise<void> {
    const until = performance.now() + delay
    for (let left = delay; left > 0; left = until - performance.now()) {
      // Of a table that was removed nothing more is wanted than to get past its end.
      if (isStuck(error, state.failures) && (isCureUnderWay(env.seenBackfills(table)) || !isListed()))
        return await stop(error)
      if (env.isDeleting()) return
      await bell.wait(left, signal)
    }
  }

  async function run(): Promise<void> {
    const backoff = createBackoff(RETRY_MIN, RETRY_MAX)
    while (!signal.aborted) {
      try {
        await attempt()
        if (state.row === undefined) return
      } catch (thrown) {
        known = undefined
        if (signal.aborted) return
        const error = toMillraceError(thrown)
        if (state.failures === 0) backoff.reset()
        state.failures += 1
        const delay = backoff.next()
        env.metrics.failed(table, error.code)
        env.log.warn(
          { table: state.label, code: error.code, reason: error.message, delay },
          'Table failed, trying again',
        )
        // Somebody else was faster, which is no failure unless it goes on.
        if (error.code !== 'LedgerConflict' || state.failures > 3) state.error = error
        env.changed(true)
        await recover(error, delay).catch((again) => {
          if (!signal.aborted) env.log.warn({ table: state.label, err: again }, 'Table not stopped')
        })
      }
    }
  }

  return {
    state,
    topic,
    push: (record) => (stream ?? ahead)?.push(record),
    reached: (end) => stream?.reached(end),
    lost: (wanted, offsets) => (stream ?? ahead)?.lost(wanted, offsets),
    failed: (error) => (stream ?? ahead)?.failed(error),
    wake() {
      bell.ring()
      stream?.wake()
    },
    relieve: () => stream?.relieve(),
    isBusy: () => stream?.isBusy() ?? false,
    incompleteBytes: () => stream?.incompleteBytes() ?? 0,
    done: run(),
  }
}
