import { type MillraceError, toMillraceError } from '../../lib/errors.ts'
import type { LedgerTable } from '../destination/ledger.ts'
import type { Header } from '../queue/format.ts'
import type { QueueRecord, TopicOffsets } from '../queue/queue.ts'
import { createControlScanner, type ScannedLine } from '../queue/scan-control.ts'
import type { ApplyEnv } from './env.ts'
import {
  controlFacts,
  endsDraining,
  type FactChange,
  lostFacts,
  offsetGone,
  placeAfter,
  queueLost,
  topicRemade,
  whyEnded,
} from './facts.ts'
import type { Ending } from './hold.ts'
import type { TableState } from './state.ts'

/** Why a copy is worthless although it is not complete yet, and what that changes in the table's row. */
export interface Loss {
  readonly why: Ending
  readonly facts: FactChange
}

/**
 * Looks at what gathers behind a hold, so that a gap there is not found when hours of copying are over. Nothing of it is
 * kept or applied, and the ledger's place does not move: it is all read again when the hold has ended.
 */
export interface Ahead {
  push(record: QueueRecord): void
  lost(wanted: bigint, offsets: TopicOffsets | undefined): void
  /** The topic cannot be read, or the table's row in the ledger is not what it should be: `LedgerConflict`. */
  failed(error: MillraceError): void
  /** Something was found that has to be told at once. */
  hasNews(): boolean
  /** What was found. Rejects with what was said of the ledger's row. */
  loss(signal: AbortSignal): Promise<Loss | undefined>
  close(): void
}

/** How often it is looked whether the topic still has the hold, which nobody reads again before it ends, milliseconds. */
const OFFSETS = 20_000

/** @param ring called when there is news */
export function lookAhead(env: ApplyEnv, state: TableState, row: LedgerTable, ring: () => void): Ahead {
  const { topic, nextOffset } = row
  let scanner = createControlScanner()
  let header: Header | undefined
  let found: Loss | undefined
  let conflict: MillraceError | undefined
  let asked = performance.now()
  let isOpen = false

  function open(): void {
    scanner = createControlScanner()
    header = undefined
    env.topics.open(topic, nextOffset)
    isOpen = true
  }

  function close(): void {
    if (isOpen) env.topics.close(topic)
    isOpen = false
  }

  function find(loss: Loss): void {
    found ??= loss
    close()
    ring()
  }

  function losing(what: string): void {
    const why = queueLost(what)
    find({ why, facts: lostFacts(why.code, why.message) })
  }

  function take(entry: ScannedLine): void {
    if (entry.kind === 'header') {
      header = entry.header
      if (row.incarnation !== '' && header.inc !== row.incarnation) losing(topicRemade(topic))
      return
    }
    const { line, lsn } = entry
    const place = { epoch: header?.epoch ?? 0, lsn, sequence: line.seq }
    if (!placeAfter(line, place, row.position) || !endsDraining(line, row)) return
    // Where it stops or leaves is for the line itself to say, in its turn.
    const { state: _, ...facts } = controlFacts(line, row)
    find({ why: whyEnded(line), facts })
  }

  /** Not the end of anything: those who apply it will have to say so. */
  function unreadable(error: MillraceError): void {
    close()
    state.waiting = `what comes after the hold cannot be read, so that a gap there would not be noticed: ${error.message}`
    env.changed(true)
  }

  open()
  return {
    push(record) {
      try {
        for (const entry of scanner.push(record)) if (!found) take(entry)
      } catch (thrown) {
        unreadable(toMillraceError(thrown))
      }
    },
    lost: (wanted, offsets) => losing(offsetGone(topic, wanted, offsets)),
    failed(error) {
      if (error.code !== 'LedgerConflict') return unreadable(error)
      conflict = error
      ring()
    },
    hasNews: () => found !== undefined || conflict !== undefined,
    async loss(signal) {
      if (conflict) throw conflict
      if (found || performance.now() - asked < OFFSETS) return found
      asked = performance.now()
      // Reading goes on behind what is deleted, and would not notice. Whether the queue answers is the reader's to say.
      const offsets = await env.queue.offsets(topic, signal).catch(() => undefined)
      signal.throwIfAborted()
      if (offsets && offsets.earliest > nextOffset) losing(offsetGone(topic, nextOffset, offsets))
      if (!found && !isOpen) {
        state.waiting = undefined
        open()
      }
      return found
    },
    close,
  }
}
