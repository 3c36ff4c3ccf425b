import { MillraceError } from '../../lib/errors.ts'
import type { TableName } from '../source/table.ts'

/** The messages of pgoutput, protocol version 1, that are not rows. Rows never become objects: see rows.ts. */

export interface BeginMessage {
  /** LSN of the commit record. */
  readonly commitLSN: bigint
  /** Milliseconds since 1970. */
  readonly time: number
  /** Unsigned 32 bits. */
  readonly xid: number
}

export interface CommitMessage {
  readonly commitLSN: bigint
  /** Behind the commit record. */
  readonly endLSN: bigint
}

export interface RelationColumn {
  readonly name: string
  readonly typeOid: number
  readonly typeModifier: number
  /** Part of the replica identity at that time; all columns with identity full. */
  readonly identity: boolean
}

/** A table as it was when the changes that follow were made. */
export interface RelationMessage extends TableName {
  readonly oid: number
  /** `d`, `n`, `f` or `i`, as in pg_class.relreplident. */
  readonly replicaIdentity: string
  readonly columns: readonly RelationColumn[]
}

export interface LogicalMessage {
  readonly transactional: boolean
  readonly prefix: string
  /** Undefined when the prefix is another's. */
  readonly content: Buffer | undefined
}

const MICROSECONDS_1970_TO_2000 = 946_684_800_000_000n

export function readBegin(buffer: Buffer, start: number): BeginMessage {
  return {
    commitLSN: buffer.readBigUInt64BE(start + 1),
    time: Number((buffer.readBigInt64BE(start + 9) + MICROSECONDS_1970_TO_2000) / 1000n),
    xid: buffer.readUInt32BE(start + 17),
  }
}

export function readCommit(buffer: Buffer, start: number): CommitMessage {
  return { commitLSN: buffer.readBigUInt64BE(start + 2), endLSN: buffer.readBigUInt64BE(start + 10) }
}

export function readRelation(buffer: Buffer, start: number, end: number): RelationMessage {
  const oid = buffer.readUInt32BE(start + 1)
  const schema = text(buffer, start + 5, end)
  const name = text(buffer, schema.next, end)
  const replicaIdentity = String.fromCharCode(buffer[name.next] as number)
  const count = buffer.readUInt16BE(name.next + 1)
  const columns: RelationColumn[] = []
  let offset = name.next + 3
  for (let index = 0; index < count; index += 1) {
    const identity = ((buffer[offset] as number) & 1) === 1
    const column = text(buffer, offset + 1, end)
    columns.push({
      name: column.value,
      typeOid: buffer.readUInt32BE(column.next),
      typeModifier: buffer.readInt32BE(column.next + 4),
      identity,
    })
    offset = column.next + 8
  }
  // An empty schema stands for pg_catalog.
  return { oid, schema: schema.value || 'pg_catalog', name: name.value, replicaIdentity, columns }
}

/** Object ids of the tables that a TRUNCATE empties. */
export function readTruncate(buffer: Buffer, start: number): number[] {
  const count = buffer.readUInt32BE(start + 1)
  return Array.from({ length: count }, (_, index) => buffer.readUInt32BE(start + 6 + index * 4))
}

/** `content` is looked at only when the prefix is ours. */
export function readMessage(buffer: Buffer, start: number, end: number, ours: string): LogicalMessage {
  const prefix = text(buffer, start + 10, end)
  const length = buffer.readUInt32BE(prefix.next)
  return {
    transactional: ((buffer[start + 1] as number) & 1) === 1,
    prefix: prefix.value,
    content: prefix.value === ours ? buffer.subarray(prefix.next + 4, prefix.next + 4 + length) : undefined,
  }
}

function text(buffer: Buffer, start: number, end: number): { value: string; next: number } {
  const zero = buffer.indexOf(0, start)
  if (zero === -1 || zero >= end) throw malformed('text without end')
  return { value: buffer.toString('utf8', start, zero), next: zero + 1 }
}

/** What the server sends does not follow the protocol. */
export function malformed(what: string): MillraceError {
  return new MillraceError('Internal', `cannot read the source's log: ${what}`, { retryable: true })
}
