import { MillraceError } from '../../lib/errors.ts'
import { type ControlLine, MESSAGE_PREFIX } from '../queue/format.ts'
import { formatLSN, type LSN } from '../source/lsn.ts'
import { writeLargeRow } from './large-line.ts'
import { createLargeMessageReader } from './large-message.ts'
import { sinkBytes, writeBytes } from './lines.ts'
import { type ControlContent, controlOf, parseMessage, type TableMessage } from './log-messages.ts'
import type { Channel, Outgoing } from './outgoing.ts'
import {
  type BeginMessage,
  malformed,
  type RelationMessage,
  readBegin,
  readCommit,
  readMessage,
  readRelation,
  readTruncate,
} from './pgoutput.ts'
import { headerLine, type Relation } from './relations.ts'
import { writeRow, writeTruncate } from './rows.ts'
import { type FrameHandler, readServerError } from './wire.ts'

/** What has to be looked up before the next message can be taken. */
export type Pending =
  | {
      readonly kind: 'relation'
      readonly message: RelationMessage
      /** The transaction that describes the table. */
      readonly xid: number
    }
  | { readonly kind: 'messages'; readonly messages: readonly TableMessage[] }
  | { readonly kind: 'drain' }

export interface ChangesOptions {
  readonly slot: string
  readonly epoch: number
  readonly outgoing: Outgoing
  /** The server has begun to send. */
  readonly onStarted: () => void
  /** The server wants to hear where we are, at once. */
  readonly onReplyRequested: () => void
  /** A table was truncated, by this transaction. */
  readonly onTruncate: (oid: number, xid: number) => void
  /** Where the stream begins: everything before is in the queue. */
  readonly start: LSN
}

/** Turns the stream of a slot into runs of JSON lines, table by table. */
export interface Changes {
  readonly handler: FrameHandler
  /** Set after the handler has said stop. */
  pending(): Pending | undefined
  /** Answers a pending relation; the change that asked for it is written, which may ask for the next. */
  resolveRelation(relation: Relation): void
  /** Answers pending messages with the channels of their tables, in the same order. */
  resolveMessages(channels: readonly Channel[]): void
  /** Answers a pending drain. */
  resolveDrain(): void
  /** All transactions that end at or before this are written, and nothing of later ones that would be lost with it. */
  through(): LSN
  /** How far the source's log goes, as the server last said. */
  sourceEnd(): LSN
  /** Transactions seen so far. */
  commits(): number
  /** Writes a control line behind what was written so far, at any time, without disturbing the sequence of changes. */
  writeControl(channel: Channel, content: ControlContent): void
  relations(): Iterable<Relation>
  /** Exchanges a relation for one with another filter. */
  replaceRelation(relation: Relation): void
}

/** A row larger than this waits until everything before it is sent, so that it has the memory for itself. */
const HUGE_ROW = 4 * 1024 * 1024
const XLOG_DATA = 0x77
const KEEPALIVE = 0x6b
const XLOG_HEADER = 25

const BEGIN = 0x42
const COMMIT = 0x43
const INSERT = 0x49
const UPDATE = 0x55
const DELETE = 0x44
const TRUNCATE = 0x54
const RELATION = 0x52
const MESSAGE = 0x4d
const ORIGIN = 0x4f
const TYPE = 0x59

export function createChanges(options: ChangesOptions): Changes {
  const { outgoing, epoch } = options
  const relations = new Map<number, Relation>()
  // The log describes partitions beside the tables that their rows come under. What no change comes for is not looked up: it
  // would get a topic that nobody reads.
  const described = new Map<number, RelationMessage>()
  let resume = () => {}
  let lastOid = -1
  let lastRelation: Relation | undefined
  let pending: Pending | undefined

  let through = options.start
  let sourceEnd = options.start
  let commits = 0

  let begin: BeginMessage | undefined
  let transactionLine: Buffer | undefined
  let transactions = 0
  /** Changes of the present transaction, counted before any filter (rule R15). */
  let count = 0
  /** Control lines written between two transactions. */
  let between = 0
  let messages: TableMessage[] = []
  let committing: { readonly endLSN: LSN } | undefined

  // Changes have even numbers. The odd ones are free for lines that capture adds of itself: those must have a place of
  // their own, and must not shift the changes behind them when the transaction is sent again.
  const sequence = () => count * 2

  function relationOf(oid: number): Relation {
    if (oid === lastOid && lastRelation) return lastRelation
    const relation = relations.get(oid)
    if (!relation) throw malformed(`a change of table ${oid}, which was not described before`)
    lastOid = oid
    lastRelation = relation
    return relation
  }

  /** The stream stops until the table is looked up; `write` is then called again. */
  function lookUp(oid: number, write: () => void): false {
    pending = { kind: 'relation', message: described.get(oid) as RelationMessage, xid: begin?.xid ?? 0 }
    resume = write
    return false
  }

  function beginLines(channel: Channel, header: Buffer): void {
    if (channel.header !== header) {
      writeBytes(channel.sink, header)
      channel.header = header
    }
  }

  function beginRow(relation: Relation): Channel {
    const { channel } = relation
    beginLines(channel, relation.header)
    if (channel.transaction !== transactions) {
      transactionLine ??= makeTransactionLine(begin)
      writeBytes(channel.sink, transactionLine)
      channel.transaction = transactions
    }
    channel.changes += 1
    return channel
  }

  function change(buffer: Buffer, start: number, end: number): boolean {
    const oid = buffer.readUInt32BE(start + 1)
    if (described.has(oid)) return lookUp(oid, () => change(buffer, start, end))
    count += 1
    const relation = relationOf(oid)
    const before = sinkBytes(relation.channel.sink)
    const channel = beginRow(relation)
    writeRow(channel.sink, relation, sequence(), buffer, start, end)
    outgoing.written(channel, before)
    return true
  }

  function truncate(buffer: Buffer, start: number): boolean {
    const oids = readTruncate(buffer, start)
    const unknown = oids.find((oid) => described.has(oid))
    if (unknown !== undefined) return lookUp(unknown, () => truncate(buffer, start))
    for (const oid of oids) {
      count += 1
      const relation = relations.get(oid)
      // Tables that the publication does not have are named too, but never described.
      if (!relation) continue
      const before = sinkBytes(relation.channel.sink)
      const channel = beginRow(relation)
      writeTruncate(channel.sink, sequence())
      if (begin) options.onTruncate(oid, begin.xid)
      outgoing.written(channel, before)
    }
    return true
  }

  function message(buffer: Buffer, start: number, end: number): void {
    const { transactional, content } = readMessage(buffer, start, end, MESSAGE_PREFIX)
    if (!transactional) return
    count += 1
    const ours = content && parseMessage(content, options.slot)
    if (ours) messages.push(ours)
  }

  function commit(endLSN: LSN): boolean {
    if (messages.length > 0) {
      committing = { endLSN }
      pending = { kind: 'messages', messages }
      return false
    }
    finish(endLSN)
    return true
  }

  function finish(endLSN: LSN): void {
    begin = undefined
    transactionLine = undefined
    committing = undefined
    messages = []
    if (endLSN > through) through = endLSN
    if (endLSN > sourceEnd) sourceEnd = endLSN
    commits += 1
    between = 0
  }

  function writeLine(channel: Channel, line: ControlLine): void {
    const before = sinkBytes(channel.sink)
    if (!channel.header) beginLines(channel, lastHeader(channel))
    writeBytes(channel.sink, Buffer.from(`${JSON.stringify(line)}\n`))
    outgoing.written(channel, before)
    outgoing.complete(channel)
  }

  function lastHeader(channel: Channel): Buffer {
    let header: Buffer | undefined
    for (const relation of relations.values()) if (relation.channel === channel) header = relation.header
    return header ?? headerLine(channel, epoch, [])
  }

  function payload(buffer: Buffer, start: number, end: number): boolean {
    switch (buffer[start]) {
      case INSERT:
      case UPDATE:
      case DELETE:
        return change(buffer, start, end)
      case BEGIN:
        begin = readBegin(buffer, start)
        transactions += 1
        count = 0
        return true
      case COMMIT:
        return commit(readCommit(buffer, start).endLSN)
      case RELATION: {
        const relation = readRelation(buffer, start, end)
        described.set(relation.oid, relation)
        return true
      }
      case TRUNCATE:
        return truncate(buffer, start)
      case MESSAGE:
        message(buffer, start, end)
        return true
      case ORIGIN:
      case TYPE:
        return true
      default:
        throw malformed(`a message of type ${buffer[start]}`)
    }
  }

  function keepalive(buffer: Buffer, start: number): void {
    const end = buffer.readBigUInt64BE(start + 1)
    if (end > sourceEnd) sourceEnd = end
    // Between transactions everything up to here is either written or nothing that concerns us. Within one it is not
    // worth a thought what the position stands for.
    if (!begin && end > through) {
      through = end
      between = 0
    }
    if (buffer[start + 17] === 1) options.onReplyRequested()
  }

  // What was not taken of a large message is handed over again.
  const large = createLargeMessageReader(relationOf, (oid) => !described.has(oid) || lookUp(oid, () => {}))

  function largeEnd(): boolean {
    const message = large.finish()
    if (message.kind === 'message') {
      if (message.transactional) count += 1
      return true
    }
    count += 1
    const { relation, row } = message
    const before = sinkBytes(relation.channel.sink)
    const channel = beginRow(relation)
    writeLargeRow(channel.sink, relation, sequence(), row)
    outgoing.written(channel, before)
    return true
  }

  const handler: FrameHandler = {
    data(buffer, start, end) {
      if (buffer[start] === XLOG_DATA) return payload(buffer, start + XLOG_HEADER, end)
      if (buffer[start] === KEEPALIVE) keepalive(buffer, start)
      return true
    },
    largeBegin(length) {
      if (length <= HUGE_ROW || outgoing.bytes() === 0) return true
      pending = { kind: 'drain' }
      return false
    },
    largePiece: large.piece,
    largeEnd,
    other(type, body) {
      if (type === 'W') options.onStarted()
      if (type === 'E') throw readServerError(body)
      if (type === 'c')
        throw new MillraceError('ConnectionLost', 'the source has ended the replication stream')
    },
  }

  return {
    handler,
    pending: () => pending,
    resolveRelation(relation) {
      relations.set(relation.message.oid, relation)
      described.delete(relation.message.oid)
      lastOid = -1
      pending = undefined
      const write = resume
      resume = () => {}
      write()
    },
    resolveMessages(channels) {
      if (pending?.kind !== 'messages' || !committing || !begin) throw new Error('no messages are pending')
      const { endLSN } = committing
      for (const [index, message] of pending.messages.entries()) {
        count += 1
        const place = { tx: formatLSN(begin.commitLSN), seq: sequence(), at: isoTime(begin.time) }
        writeLine(channels[index] as Channel, { ...controlOf(message, formatLSN(endLSN)), ...place })
      }
      pending = undefined
      finish(endLSN)
    },
    resolveDrain() {
      pending = undefined
    },
    through: () => through,
    sourceEnd: () => sourceEnd,
    commits: () => commits,
    writeControl(channel, content) {
      const place = begin
        ? { tx: formatLSN(begin.commitLSN), seq: sequence() + 1 }
        : // One byte before: the next transaction's commit record may stand exactly at `through`, and a line that shares
          // its place would make apply take the transaction's first changes for ones it has already.
          { tx: formatLSN(through > 0n ? through - 1n : through), seq: between++ }
      writeLine(channel, { ...content, ...place, at: new Date().toISOString() } as ControlLine)
    },
    relations: () => relations.values(),
    replaceRelation(relation) {
      relations.set(relation.message.oid, relation)
      lastOid = -1
    },
  }
}

function makeTransactionLine(begin: BeginMessage | undefined): Buffer {
  if (!begin) throw malformed('a change outside of a transaction')
  const { commitLSN, xid, time } = begin
  return Buffer.from(`{"tx":"${formatLSN(commitLSN)}","xid":${xid},"at":"${isoTime(time)}"}\n`)
}

function isoTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString()
}
