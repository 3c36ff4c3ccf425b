import type { LedgerTable } from '../destination/ledger.ts'
import type { Position } from '../source/position.ts'
import { addToBatch, type BatchChange, createBatch, type TableBatch } from './batch.ts'
import { type ApplyEnv, tableOptions } from './env.ts'
import type { FactChange } from './facts.ts'
import { flushDue } from './flush-policy.ts'
import type { Layout } from './layout.ts'
import { tellSlow } from './slow.ts'
import type { TableState } from './state.ts'
import { writeBatch } from './write.ts'

/** Gathers the changes of one table and writes them, one batch at a time, while the next is gathered. */
export interface TableWriter {
  /** The ledger's row as last written. */
  row(): LedgerTable
  setRow(row: LedgerTable): void
  /** Begins a batch of rows of this layout; the last one must have been written. */
  begin(layout: Layout): void
  add(layout: Layout, change: BatchChange): void
  /** Nothing is gathered and nothing is being written. */
  isIdle(): boolean
  isEmpty(): boolean
  isWriting(): boolean
  /** Enough is gathered to be written whatever else comes. */
  isFull(): boolean
  /** When what is gathered has to be written, milliseconds of the monotonic clock; Infinity while something is written. */
  due(atEnd: boolean): number
  /** Milliseconds since the last write began. */
  idleFor(): number
  /** What is gathered has to be written as soon as possible. */
  press(): void
  /** Begins to write what is gathered, if only a new place. Nothing may be being written. */
  start(place: WritePlace, signal: AbortSignal): void
  /** Waits until nothing is being written; throws what went wrong with it. */
  settle(): Promise<void>
  throwFailure(): void
  /** Estimated bytes of what is gathered and being written. */
  cost(): number
}

export interface WritePlace {
  readonly nextOffset: bigint
  readonly position: Position
  readonly facts: FactChange
  readonly drained?: string
}

/** @param done called after each write, whether it has succeeded or not */
export function createWriter(
  env: ApplyEnv,
  state: TableState,
  first: LedgerTable,
  done: () => void,
): TableWriter {
  let row = first
  let layout: Layout | undefined
  let batch = createBatch(undefined)
  let writing: Promise<void> | undefined
  let writingCost = 0
  let failure: unknown
  let pressed = false
  let lastStart = Number.NEGATIVE_INFINITY
  const born = performance.now()

  function setRow(next: LedgerTable): void {
    row = next
    state.row = next
  }

  async function write(written: TableBatch, place: WritePlace, signal: AbortSignal): Promise<void> {
    const { destination, source, metrics } = env
    const started = performance.now()
    const context = {
      destination,
      source,
      options: tableOptions(env.spec()),
      wait: <T>(flush: Promise<T>) => tellSlow(env, state, flush),
      onReread: (rows: number) => metrics.reread(state.table, rows),
    }
    const empties = written.keyed.truncate || written.keyless.truncate
    // Before and after: whoever looks in between has seen neither the one nor the other table.
    if (empties) state.emptied += 1
    setRow(await writeBatch(context, row, written, place, signal))
    if (empties) state.emptied += 1
    metrics.flushed(state.table, written, (performance.now() - started) / 1000)
    if (written.changes > 0) state.appliedAt = written.lastAt
    state.oldestAt = batch.changes > 0 ? batch.firstAt : undefined
    state.error = undefined
    state.failures = 0
    state.waiting = undefined
    env.changed(false)
  }

  return {
    row: () => row,
    setRow,
    begin(next) {
      layout = next
      batch = createBatch(next)
    },
    add(to, change) {
      addToBatch(batch, to, change, performance.now())
    },
    isIdle: () => batch.changes === 0 && writing === undefined,
    isEmpty: () => batch.changes === 0,
    isWriting: () => writing !== undefined,
    isFull() {
      const { flushRows, flushBytes } = env.spec().apply
      return batch.changes >= flushRows || batch.bytes >= flushBytes
    },
    due(atEnd) {
      if (writing) return Number.POSITIVE_INFINITY
      if (pressed && batch.changes > 0) return 0
      return flushDue({ ...batch, lastFlush: lastStart, atEnd }, env.spec().apply)
    },
    idleFor: () => performance.now() - Math.max(lastStart, born),
    press() {
      pressed = true
    },
    start(place, signal) {
      const written = batch
      batch = createBatch(layout)
      pressed = false
      writingCost = written.cost
      lastStart = performance.now()
      writing = write(written, place, signal)
        .catch((thrown) => {
          failure ??= thrown
        })
        .finally(() => {
          writing = undefined
          writingCost = 0
          done()
        })
    },
    async settle() {
      while (writing) await writing
      if (failure !== undefined) throw failure
    },
    throwFailure() {
      if (failure !== undefined) throw failure
    },
    cost: () => batch.cost + writingCost,
  }
}
