import { collector } from '../runtime/collector.ts'
import type { LargeRow } from './large-line.ts'
import { createLargeRowReader, type LargeRowReader } from './large-row.ts'
import type { Relation } from './relations.ts'

/** What a message that came piece by piece turned out to be. */
export type LargeMessage =
  | { readonly kind: 'row'; readonly relation: Relation; readonly row: LargeRow }
  /** A logical message; ours are never that large. */
  | { readonly kind: 'message'; readonly transactional: boolean }

/** Takes the pieces of one message after the other. */
export interface LargeMessageReader {
  /** The next bytes of a CopyData's payload. False: nothing of them is taken, because their table is not known yet. */
  piece(buffer: Buffer, start: number, end: number): boolean
  /** The message is complete. */
  finish(): LargeMessage
}

/** Bytes of huge rows after which the chunks they came in are freed. */
const COLLECT_AFTER = 8 * 1024 * 1024
const XLOG_HEADER = 25
/** The first bytes decide what it is: header, type, then a row's table or a logical message's flags. */
const PREFIX = XLOG_HEADER + 5
const MESSAGE = 0x4d

export function createLargeMessageReader(
  relationOf: (oid: number) => Relation,
  isKnown: (oid: number) => boolean,
): LargeMessageReader {
  let row: LargeRowReader | undefined
  let relation: Relation | undefined
  let prefix = Buffer.alloc(0)
  let uncollected = 0

  function begin(): void {
    row = createLargeRowReader((oid) => {
      relation = relationOf(oid)
      return relation
    })
    row.feed(prefix, XLOG_HEADER, PREFIX)
  }

  return {
    piece(buffer, start, end) {
      let from = start
      if (prefix.length < PREFIX) {
        from = Math.min(end, start + PREFIX - prefix.length)
        const longer = Buffer.concat([prefix, buffer.subarray(start, from)])
        const isRow = longer.length === PREFIX && longer[XLOG_HEADER] !== MESSAGE
        if (isRow && !isKnown(longer.readUInt32BE(XLOG_HEADER + 1))) return false
        prefix = longer
        if (isRow) begin()
      }
      uncollected += end - start
      if (uncollected >= COLLECT_AFTER) {
        collector.recent()
        uncollected = 0
      }
      if (from < end) row?.feed(buffer, from, end)
      return true
    },
    finish() {
      const transactional = ((prefix[XLOG_HEADER + 1] as number) & 1) === 1
      const done: LargeMessage =
        row && relation ? { kind: 'row', relation, row: row.finish() } : { kind: 'message', transactional }
      row = undefined
      relation = undefined
      prefix = Buffer.alloc(0)
      return done
    },
  }
}
