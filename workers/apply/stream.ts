import { MillraceError, toMillraceError } from '../../lib/errors.ts'
import type { LedgerTable } from '../destination/ledger.ts'
import { type RunEntry, readRun } from '../queue/decode.ts'
import type { ControlLine, Header } from '../queue/format.ts'
import { createRunJoiner, type Run } from '../queue/join-runs.ts'
import type { QueueRecord, TopicOffsets } from '../queue/queue.ts'
import { comparePositions, ORIGIN, type Position } from '../source/position.ts'
import { addToBatch, createBatch, type TableBatch } from './batch.ts'
import { createBell } from './bell.ts'
import { type ControlContext, passControl } from './control.ts'
import { headerDefinition, wideDefinition } from './definition.ts'
import { type ApplyEnv, listedTable, tableOptions } from './env.ts'
import type { FactChange } from './facts.ts'
import { flushDue } from './flush-policy.ts'
import { createLayout, type Layout } from './layout.ts'
import type { TableState } from './state.ts'
import { parseVisibility, type Visibility, wasSeen } from './visibility.ts'
import { writeBatch } from './write.ts'

/**
 * Why a table is not streamed any more: a backfill holds it, it has left the publication, the Pipeline is paused, or the
 * ledger's row has changed in a way that needs a new start.
 */
export type StreamEnd = 'held' | 'left' | 'paused' | 'again'

/** Applies the topic of one table from where the ledger stands. Used once. */
export interface Stream {
  /** The next record of the topic. */
  push(record: QueueRecord): void
  /** How far the topic goes. */
  reached(end: bigint): void
  /** The offset that was asked for does not exist. */
  lost(wanted: bigint, offsets: TopicOffsets | undefined): void
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
  let row = first
  let position = row.position
  let doneOffset = start
  let end: bigint | undefined
  let header: Header | undefined
  let layout: Layout | undefined
  let signature = ''
  let facts: FactChange = {}
  let batch = createBatch(undefined)
  let flushing: Promise<void> | undefined
  let failure: unknown
  let lost: { wanted: bigint; offsets: TopicOffsets | undefined } | undefined
  let pressed = false
  let inboxBytes = 0
  let runBytes = 0
  let flushingCost = 0
  let accounted = 0
  let lastFlush = Number.NEGATIVE_INFINITY
  let lastProgress = performance.now()
  let seen: Visibility[] = []

  function account(): void {
    const now = inboxBytes + runBytes + joiner.bytes() + batch.cost + flushingCost
    if (now > accounted) env.memory.add(now - accounted)
    else if (now < accounted) env.memory.remove(accounted - now)
    accounted = now
  }

  function setRow(next: LedgerTable): void {
    row = next
    state.row = next
  }

  // ---- writing

  /** Begins to write what is gathered; the next batch can be gathered meanwhile. */
  function startFlush(further: FactChange, drained: string | undefined, signal: AbortSignal): void {
    const written = batch
    const place = { nextOffset: doneOffset, position, facts: { ...facts, ...further } }
    facts = {}
    pressed = false
    batch = createBatch(layout)
    flushingCost = written.cost
    lastFlush = performance.now()
    lastProgress = lastFlush
    flushing = write(written, drained === undefined ? place : { ...place, drained }, signal)
      .catch((thrown) => {
        failure ??= thrown
      })
      .finally(() => {
        flushing = undefined
        flushingCost = 0
        account()
        bell.ring()
      })
  }

  async function write(
    written: TableBatch,
    place: Parameters<typeof writeBatch>[3],
    signal: AbortSignal,
  ): Promise<void> {
    const { destination, source, metrics } = env
    const started = performance.now()
    const context = {
      destination,
      source,
      options: tableOptions(env.spec()),
      onReread: (rows: number) => metrics.reread(state.table, rows),
    }
    setRow(await writeBatch(context, row, written, place, signal))
    metrics.flushed(state.table, written, (performance.now() - started) / 1000)
    if (written.changes > 0) state.appliedAt = written.lastAt
    state.oldestAt = batch.changes > 0 ? batch.firstAt : inbox[0]?.timestamp
    recovered()
    env.changed(false)
  }

  function recovered(): void {
    state.error = undefined
    state.waiting = undefined
    state.failures = 0
  }

  /** Waits for what is being written. */
  async function settle(): Promise<void> {
    while (flushing) await flushing
    if (failure !== undefined) throw failure
  }

  /** Everything that was read is durable afterwards. */
  async function barrier(signal: AbortSignal): Promise<void> {
    await settle()
    if (batch.changes === 0) return
    startFlush({}, undefined, signal)
    await settle()
  }

  // ---- reading

  async function take(record: QueueRecord, signal: AbortSignal): Promise<StreamEnd | undefined> {
    inboxBytes -= record.value.length
    let run: Run | undefined
    try {
      run = joiner.push(record)
    } catch (thrown) {
      const error = toMillraceError(thrown)
      if (error.code !== 'QueueLost') throw error
      await barrier(signal)
      return await passControl(control(noRun(), signal)).lost(error.message, record.offset + 1n, undefined)
    }
    account()
    return run && (await takeRun(run, signal))
  }

  async function takeRun(run: Run, signal: AbortSignal): Promise<StreamEnd | undefined> {
    runBytes = run.value.length
    try {
      if (run.value.length < LARGE_RUN) return await readLines(run, signal)
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
    const { flushRows, flushBytes } = env.spec().apply
    let transaction: Extract<RunEntry, { kind: 'transaction' }> | undefined
    const lines = readRun(run.value, `topic ${topic}, offset ${run.lastOffset}`)
    // The lines have it now, and only for as long as they are read: it can be tens of megabytes.
    run.value = NOTHING
    for (const entry of lines) {
      if (entry.kind === 'header') {
        const ended = await takeHeader(entry.header, run, signal)
        if (ended) return ended
      } else if (entry.kind === 'transaction') {
        transaction = entry
      } else if (entry.kind === 'control') {
        const place = { epoch: header?.epoch ?? 0, lsn: entry.lsn, sequence: entry.line.seq }
        const ended = await takeControl(entry.line, place, entry.at, run, signal)
        if (ended) return ended
      } else {
        if (!transaction || !header)
          throw new MillraceError('Internal', `queue: ${topic}: rows of no transaction`)
        const { lsn, xid, at } = transaction
        const place = { epoch: header.epoch, lsn, sequence: entry.line[1] }
        // Written again by a capture that went back, or applied already by this table's last life (rule R15).
        if (comparePositions(place, position) <= 0) continue
        if (row.state !== 'stopped' && !wasScanned(xid)) {
          const to = layout ?? (await activate(header, signal))
          const change = {
            line: entry.line,
            bytes: entry.bytes,
            transaction: { lsn, xid, at },
            unknownHistory: row.unknownHistory,
          }
          addToBatch(batch, to, change, performance.now())
        }
        position = place
        if (batch.changes >= flushRows || batch.bytes >= flushBytes) {
          await settle()
          startFlush({}, undefined, signal)
        }
      }
    }
    doneOffset = run.resumeOffset
    return undefined
  }

  /** Rule R14: a table without a key has it twice otherwise. */
  function wasScanned(xid: number): boolean {
    const isKeyless = header?.columns.every(([, , place]) => place === 0) === true
    return isKeyless && seen.some((snapshot) => wasSeen(snapshot, xid))
  }

  async function takeHeader(next: Header, run: Run, signal: AbortSignal): Promise<StreamEnd | undefined> {
    if (next.inc !== row.incarnation && next.inc !== facts.incarnation) {
      if (row.incarnation !== '') {
        await barrier(signal)
        return await passControl(control(run, signal)).lost(
          `topic ${topic} was deleted and made anew`,
          doneOffset,
          next.inc,
        )
      }
      facts = { ...facts, incarnation: next.inc }
    }
    header = next
    const text = JSON.stringify(next.columns)
    if (text === signature) return undefined
    // Another list of columns: what was read with the old one is written first (rule R19).
    if (batch.changes > 0) await barrier(signal)
    signature = text
    layout = undefined
    return undefined
  }

  async function activate(of: Header, signal: AbortSignal): Promise<Layout> {
    await settle()
    const filter = listedTable(env.spec(), state.table)?.columns
    const catalog = await env.source.definition(state.table, filter, signal)
    const definition = headerDefinition(of, catalog)
    await noticeLoss(signal)
    const options = tableOptions(env.spec())
    const present = await env.destination.ensureTable(row.destination, definition, options, signal)
    const made = createLayout(of.columns, wideDefinition(definition, catalog, present.columns))
    layout = made
    batch = createBatch(made)
    return made
  }

  /** A destination table that somebody has dropped is made anew, but its rows are gone. */
  async function noticeLoss(signal: AbortSignal): Promise<void> {
    if (!row.historyComplete || comparePositions(row.position, ORIGIN) === 0) return
    const { exists } = await env.destination.inspectTable(row.destination, signal)
    if (exists) return
    env.log.error({ table: state.label }, 'The destination table is gone, its history is incomplete')
    setRow(await env.destination.ledger.updateTable(row, { historyComplete: false }, signal))
  }

  async function takeControl(
    line: ControlLine,
    place: Position,
    at: number,
    run: Run,
    signal: AbortSignal,
  ): Promise<StreamEnd | undefined> {
    if (comparePositions(place, position) <= 0) return undefined
    const ended = await passControl(control(run, signal)).line(line, place, at)
    position = place
    return ended
  }

  function control(run: Run, signal: AbortSignal): ControlContext {
    return {
      env,
      state,
      signal,
      row: () => row,
      setRow,
      barrier: () => barrier(signal),
      doneOffset: () => doneOffset,
      nextOffset: run.resumeOffset,
      takeFacts() {
        const taken = facts
        facts = {}
        return taken
      },
      async drain(uid, place, change) {
        await settle()
        position = place
        doneOffset = run.resumeOffset
        startFlush(change, uid, signal)
        await settle()
      },
      refresh: look,
    }
  }

  function look(): void {
    seen = state.draining.flatMap(({ visibility }) => (visibility ? [parseVisibility(visibility)] : []))
  }

  // ---- waiting

  function flushState() {
    const { changes, bytes, since } = batch
    return { changes, bytes, since, lastFlush, atEnd: isAtEnd() }
  }

  function isAtEnd(): boolean {
    return end !== undefined && inbox.length === 0 && runBytes === 0 && doneOffset >= end
  }

  /** What can be done while no record is there; returns how long to wait for one. */
  async function idle(signal: AbortSignal): Promise<number | StreamEnd> {
    state.atEnd = isAtEnd()
    const now = performance.now()
    const isAhead = doneOffset > row.nextOffset || facts.incarnation !== undefined
    if (isAhead && batch.changes === 0 && !flushing && now - lastProgress > PROGRESS_INTERVAL) {
      startFlush({}, undefined, signal)
      return 0
    }
    if (state.atEnd && batch.changes === 0 && !flushing) {
      state.oldestAt = undefined
      recovered()
      const ended = await passControl(control(noRun(), signal)).atEnd()
      if (ended) return ended
    }
    return Math.min(flushing ? IDLE_CHECK : flushDue(flushState(), env.spec().apply) - now, IDLE_CHECK)
  }

  /** For what is not in a run. */
  const noRun = (): Run => ({ topic, lastOffset: doneOffset, resumeOffset: doneOffset, value: NOTHING })

  async function run(signal: AbortSignal): Promise<StreamEnd> {
    look()
    env.topics.open(topic, start)
    try {
      for (;;) {
        signal.throwIfAborted()
        if (failure !== undefined) throw failure
        if (!env.isRunning()) {
          await barrier(signal)
          return 'paused'
        }
        if (lost) {
          const { wanted, offsets } = lost
          const reading = `topic ${topic} has no offset ${wanted} (${offsets ? `it holds ${offsets.earliest} to ${offsets.end}` : 'it is gone'})`
          await barrier(signal)
          return await passControl(control(noRun(), signal)).lost(reading, offsets?.earliest ?? 0n, undefined)
        }
        if (!flushing && batch.changes > 0) {
          const due = flushDue(flushState(), env.spec().apply)
          if (pressed || due <= performance.now()) startFlush({}, undefined, signal)
        }
        const record = inbox.shift()
        if (!record) {
          env.topics.resume(topic)
          const wait = await idle(signal)
          if (typeof wait !== 'number') return wait
          if (wait > 0) await bell.wait(wait, signal)
          continue
        }
        const ended = await take(record, signal)
        if (ended) return ended
      }
    } finally {
      env.topics.close(topic)
      await Promise.resolve(flushing)
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
      if (doneOffset >= offset && batch.changes > 0) bell.ring()
    },
    lost(wanted, offsets) {
      lost = { wanted, offsets }
      bell.ring()
    },
    wake: () => bell.ring(),
    relieve() {
      pressed = true
      bell.ring()
    },
    isBusy: () => flushing !== undefined || batch.changes > 0 || inbox.length > 0 || runBytes > 0,
    incompleteBytes: () => joiner.bytes(),
    run: (signal) =>
      run(signal).catch((thrown) => {
        throw signal.aborted ? signal.reason : toMillraceError(thrown)
      }),
  }
}
