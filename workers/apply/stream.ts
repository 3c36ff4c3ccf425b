import { MillraceError, toMillraceError } from '../../lib/errors.ts'
import type { LedgerTable } from '../destination/ledger.ts'
import { type RunEntry, readRun } from '../queue/decode.ts'
import type { Header } from '../queue/format.ts'
import { createRunJoiner, type Run } from '../queue/join-runs.ts'
import type { QueueRecord, TopicOffsets } from '../queue/queue.ts'
import { comparePositions, type Position } from '../source/position.ts'
import { createBell } from './bell.ts'
import { chooseLayout } from './choose-layout.ts'
import { type ControlContext, passControl } from './control.ts'
import type { ApplyEnv } from './env.ts'
import { type FactChange, offsetGone, placeAfter, rowFacts, topicRemade } from './facts.ts'
import type { Layout } from './layout.ts'
import type { TableState } from './state.ts'
import { parseVisibility, type Visibility, wasSeen } from './visibility.ts'
import { createWriter } from './writer.ts'

/**
 * Why a table is not streamed any more: a backfill holds it, it has left the publication, the Pipeline is paused, or the
 * ledger's row has changed in a way that needs a new start.
 */
export type StreamEnd = 'held' | 'left' | 'paused' | 'again'

/** Applies the topic of one table from where the ledger stands. Used once. */
export interface Stream {
  /** Takes the next record of the topic. */
  push(record: QueueRecord): void
  /** How far the topic goes. */
  reached(end: bigint): void
  /** The offset that was asked for does not exist. */
  lost(wanted: bigint, offsets: TopicOffsets | undefined): void
  /** The topic cannot be read. */
  failed(error: MillraceError): void
  /** Something outside has changed. */
  wake(): void
  /** Memory is short: what is gathered has to be written. */
  relieve(): void
  /** Something is being done, or can be, without any further record. */
  isBusy(): boolean
  /** Bytes of a run of which records are missing. */
  incompleteBytes(): number
  /** Rejects with what went wrong; nothing is then in memory that matters. */
  run(signal: AbortSignal): Promise<StreamEnd>
}

/** Bytes that may wait unread before no more are fetched. */
const INBOX_BYTES = 1_000_000
/** Runs from this size on are worked on one at a time. */
const LARGE_RUN = 4_000_000
/** How long a place may be ahead of the ledger's when there is nothing to write, milliseconds. */
const PROGRESS_INTERVAL = 60_000
const IDLE_CHECK = 5_000
const NOTHING = Buffer.alloc(0)

/** @param start offset to begin at */
export function createStream(env: ApplyEnv, state: TableState, first: LedgerTable, start: bigint): Stream {
  const { topic } = first
  const inbox: QueueRecord[] = []
  const joiner = createRunJoiner()
  const bell = createBell()
  const writer = createWriter(env, state, first, () => {
    account()
    bell.ring()
  })
  /** The last change that was read. */
  let position = first.position
  /** Where reading begins again once everything that was read is durable. */
  let doneOffset = start
  let end: bigint | undefined
  let header: Header | undefined
  let layout: Layout | undefined
  let columns = ''
  /** Facts that go with the next change of the ledger's row. */
  let facts: FactChange = {}
  /** What copies of a table without a key have seen. */
  let seen: Visibility[] = []
  let lost: { wanted: bigint; offsets: TopicOffsets | undefined } | undefined
  let refused: MillraceError | undefined
  let inboxBytes = 0
  let runBytes = 0
  let accounted = 0

  function account(): void {
    const now = inboxBytes + runBytes + joiner.bytes() + writer.cost()
    if (now > accounted) env.memory.add(now - accounted)
    else if (now < accounted) env.memory.remove(accounted - now)
    accounted = now
  }

  function write(signal: AbortSignal, further: FactChange = {}, drained?: string): void {
    const place = { nextOffset: doneOffset, position, facts: { ...facts, ...further } }
    facts = {}
    writer.start(drained === undefined ? place : { ...place, drained }, signal)
  }

  /** Everything that was read is durable afterwards. */
  async function barrier(signal: AbortSignal): Promise<void> {
    await writer.settle()
    if (writer.isEmpty()) return
    write(signal)
    await writer.settle()
  }

  async function take(record: QueueRecord, signal: AbortSignal): Promise<StreamEnd | undefined> {
    inboxBytes -= record.value.length
    let run: Run | undefined
    try {
      run = joiner.push(record)
    } catch (thrown) {
      const error = toMillraceError(thrown)
      if (error.code !== 'QueueLost') throw error
      await barrier(signal)
      return await passControl(control(undefined, signal)).lost(error.message, record.offset + 1n, undefined)
    }
    account()
    return run && (await takeRun(run, signal))
  }

  async function takeRun(run: Run, signal: AbortSignal): Promise<StreamEnd | undefined> {
    const size = run.value.length
    runBytes = size
    try {
      if (size < LARGE_RUN) return await readLines(run, signal)
      return await env.memory.large(signal, async () => {
        const ended = await readLines(run, signal)
        runBytes = 0
        if (!ended) await barrier(signal)
        return ended
      })
    } finally {
      runBytes = 0
      account()
    }
  }

  async function readLines(run: Run, signal: AbortSignal): Promise<StreamEnd | undefined> {
    let transaction: Extract<RunEntry, { kind: 'transaction' }> | undefined
    const lines = readRun(run.value, `topic ${topic}, offset ${run.lastOffset}`)
    // The lines have it now, and only for as long as they are read: it can be tens of megabytes.
    run.value = NOTHING
    for (const entry of lines) {
      let ended: StreamEnd | undefined
      if (entry.kind === 'header') ended = await takeHeader(entry.header, run, signal)
      else if (entry.kind === 'control') ended = await takeControl(entry, run, signal)
      else if (entry.kind === 'transaction') transaction = entry
      else if (transaction && header) {
        // Not awaited unless it waits: a promise for each row would cost more than the row.
        const waiting = takeRow(entry, transaction, header, signal)
        if (waiting) await waiting
      } else throw new MillraceError('Internal', `queue: topic ${topic}: rows of no transaction`)
      if (ended) return ended
    }
    doneOffset = run.resumeOffset
    return undefined
  }

  function takeRow(
    { line, bytes }: Extract<RunEntry, { kind: 'row' }>,
    transaction: Extract<RunEntry, { kind: 'transaction' }>,
    of: Header,
    signal: AbortSignal,
  ): Promise<void> | undefined {
    const place = { epoch: of.epoch, lsn: transaction.lsn, sequence: line[1] }
    // Written again by a capture that went back, or applied already (rule R15).
    if (comparePositions(place, position) <= 0) return undefined
    const row = writer.row()
    if (row.state === 'stopped' || wasScanned(of, transaction.xid)) {
      position = place
      return undefined
    }
    if (!layout)
      return activate(of, signal).then(() => takeRow({ kind: 'row', line, bytes }, transaction, of, signal))
    if (row.state === 'left') facts = { ...facts, ...rowFacts(row) }
    writer.add(layout, { line, bytes, transaction, unknownHistory: row.unknownHistory })
    position = place
    if (!writer.isFull()) return undefined
    return writer.settle().then(() => write(signal))
  }

  /** Rule R14: a table without a key would have it twice. */
  function wasScanned(of: Header, xid: number): boolean {
    if (seen.length === 0 || of.columns.some(([, , place]) => place > 0)) return false
    return seen.some((snapshot) => wasSeen(snapshot, xid))
  }

  async function takeHeader(next: Header, run: Run, signal: AbortSignal): Promise<StreamEnd | undefined> {
    const { incarnation } = writer.row()
    if (incarnation !== '' && next.inc !== incarnation) {
      await barrier(signal)
      const what = topicRemade(topic)
      return await passControl(control(run, signal)).lost(what, doneOffset, next.inc)
    }
    if (incarnation === '') facts = { ...facts, incarnation: next.inc }
    header = next
    const text = JSON.stringify([next.columns, next.types])
    if (text === columns) return undefined
    // Another list of columns: what was read with the old one is written first (rule R19).
    if (!writer.isEmpty()) await barrier(signal)
    columns = text
    layout = undefined
    return undefined
  }

  async function activate(of: Header, signal: AbortSignal): Promise<void> {
    await writer.settle()
    const chosen = await chooseLayout(env, state, writer.row(), of, signal)
    writer.setRow(chosen.row)
    writer.begin(chosen.layout)
    layout = chosen.layout
  }

  async function takeControl(
    { line, lsn, at }: Extract<RunEntry, { kind: 'control' }>,
    run: Run,
    signal: AbortSignal,
  ): Promise<StreamEnd | undefined> {
    const place = placeAfter(line, { epoch: header?.epoch ?? 0, lsn, sequence: line.seq }, position)
    if (!place) return undefined
    const ended = await passControl(control(run, signal)).line(line, place, at)
    position = place
    return ended
  }

  function control(run: Run | undefined, signal: AbortSignal): ControlContext {
    return {
      env,
      state,
      signal,
      row: writer.row,
      setRow: writer.setRow,
      barrier: () => barrier(signal),
      doneOffset: () => doneOffset,
      nextOffset: run?.resumeOffset ?? doneOffset,
      takeFacts() {
        const taken = facts
        facts = {}
        return taken
      },
      async drain(uid: string, place: Position, change: FactChange) {
        await writer.settle()
        position = place
        if (run) doneOffset = run.resumeOffset
        write(signal, change, uid)
        await writer.settle()
      },
      refresh: look,
    }
  }

  function look(): void {
    seen = state.draining.flatMap(({ visibility }) => (visibility ? [parseVisibility(visibility)] : []))
  }

  function isAtEnd(): boolean {
    return end !== undefined && inbox.length === 0 && runBytes === 0 && doneOffset >= end
  }

  /** What can be done while no record is there; returns how long to wait for one. */
  async function idle(signal: AbortSignal): Promise<number | StreamEnd> {
    state.atEnd = isAtEnd()
    if (writer.isIdle()) {
      const isAhead = doneOffset > writer.row().nextOffset || facts.incarnation !== undefined
      if (isAhead && writer.idleFor() > PROGRESS_INTERVAL) {
        write(signal)
        return 0
      }
      if (state.atEnd) {
        recovered()
        const ended = await passControl(control(undefined, signal)).atEnd()
        if (ended) return ended
      }
    }
    // Only what may have to be done without any change being seen needs a look now and then.
    const isWatched = state.draining.length > 0 || !env.seenScope(state.table).listed
    const check = isWatched || !writer.isIdle() ? IDLE_CHECK : PROGRESS_INTERVAL
    return Math.min(writer.due(state.atEnd) - performance.now(), check)
  }

  function recovered(): void {
    if (state.error) env.changed(true)
    state.error = undefined
    state.failures = 0
    state.waiting = undefined
    state.oldestAt = undefined
  }

  async function step(signal: AbortSignal): Promise<StreamEnd | undefined> {
    signal.throwIfAborted()
    writer.throwFailure()
    if (env.isDeleting()) return 'again'
    if (refused && inbox.length === 0) throw refused
    if (!env.isRunning()) {
      await barrier(signal)
      return 'paused'
    }
    if (lost) {
      const { wanted, offsets } = lost
      await barrier(signal)
      const what = offsetGone(topic, wanted, offsets)
      return await passControl(control(undefined, signal)).lost(what, offsets?.earliest ?? 0n, undefined)
    }
    if (writer.due(isAtEnd()) <= performance.now()) write(signal)
    const record = inbox.shift()
    if (record) return await take(record, signal)
    env.topics.resume(topic)
    const wait = await idle(signal)
    if (typeof wait !== 'number') return wait
    if (wait > 0) await bell.wait(wait, signal)
    return undefined
  }

  async function run(signal: AbortSignal): Promise<StreamEnd> {
    look()
    env.topics.open(topic, start)
    try {
      for (;;) {
        const ended = await step(signal)
        if (ended) return ended
      }
    } catch (thrown) {
      throw signal.aborted ? signal.reason : toMillraceError(thrown)
    } finally {
      env.topics.close(topic)
      // Whatever is being written ends before the next stream begins, so that they cannot get in each other's way.
      await writer.settle().catch(() => {})
      env.memory.remove(accounted)
      accounted = 0
    }
  }

  return {
    push(record) {
      inbox.push(record)
      inboxBytes += record.value.length
      account()
      state.oldestAt ??= record.timestamp
      state.atEnd = false
      if (inboxBytes > INBOX_BYTES) env.topics.pause(topic)
      bell.ring()
    },
    reached(offset) {
      end = offset
      if (doneOffset >= offset && !writer.isEmpty()) bell.ring()
    },
    lost(wanted, offsets) {
      lost = { wanted, offsets }
      bell.ring()
    },
    failed(error) {
      refused = error
      bell.ring()
    },
    wake: bell.ring,
    relieve() {
      writer.press()
      bell.ring()
    },
    isBusy: () => !writer.isIdle() || inbox.length > 0 || runBytes > 0,
    incompleteBytes: joiner.bytes,
    run,
  }
}
