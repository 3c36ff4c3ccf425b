/**
 * The queue's format: what capture writes and apply reads. Readable with stock tools.
 *
 * One topic per table, one partition. A Kafka record holds a *run*: JSON lines, UTF-8, newline-terminated, at most some
 * hundred kilobytes before compression. A run can be read on its own: its first line is always a `Header`.
 *
 *     {"v":1,"inc":"5f…","epoch":1,"table":["public","orders"],"columns":[["id","bigint",1],["note","text",0]]}
 *     {"tx":"0/30C7180","xid":741,"at":"2026-11-22T10:00:00.000Z"}
 *     ["i",1,["17","first"]]
 *     ["u",2,["17",0]]
 *     ["u",3,["18",0],["17"]]
 *     ["d",4,["18"]]
 *     ["t",5]
 *     {"control":"hold","tx":"0/30C7FF0","seq":1,"lsn":"0/30C8020", …}
 *
 * A value is PostgreSQL's text form as a JSON string, `null` is NULL, the number `0` is *unchanged* (an unchanged TOAST
 * value that PostgreSQL did not send). So null, unchanged and the empty string are three different things. The column
 * list is repeated (a header line of its own) inside a run whenever it differs from the line before (rule R19).
 *
 * A run that is larger than one Kafka record may be (a single huge row) is split over consecutive records by bytes;
 * each part carries the Kafka headers `part` = `<index>/<count>` (from 1) and `run`, and only the last makes the run
 * complete.
 */

/** Kafka header that is set on every record of a split run, `"1/3"` … `"3/3"`. */
export const PART_HEADER = 'part'

/**
 * Kafka header beside `part`: the same random text on all parts of one run, never used for another. Records of a capture
 * that is being replaced can still arrive between the parts; this keeps the two apart.
 */
export const RUN_HEADER = 'run'

/**
 * `[name, type as format_type() gives it, 1-based position in the row's key or 0]`, and of a column that capture saw being added
 * what it gave to the rows that were there, as a `QueueValue`. Where that is absent, as in runs of before it was told, the
 * catalog has to be asked, which may know no more.
 */
export type HeaderColumn = readonly [name: string, type: string, key: number, added?: string | null]

/**
 * What is behind a type that a later catalog may have forgotten: a domain with its base type, as `format_type()` gives it, or
 * an enum.
 */
export type HeaderType = readonly [kind: 'domain', base: string] | readonly [kind: 'enum']

export interface Header {
  readonly v: 1
  /** Incarnation of the topic: made at random when capture creates it (rule R24). */
  readonly inc: string
  readonly epoch: number
  readonly table: readonly [schema: string, name: string]
  /** Empty where capture does not know them, which happens only in runs that have control lines and no rows. */
  readonly columns: readonly HeaderColumn[]
  /** Types of the columns that are domains or enums, by name. Absent in runs of before it was told, and where there are none. */
  readonly types?: Readonly<Record<string, HeaderType>>
}

/** Says which transaction the rows that follow belong to. */
export interface TransactionLine {
  /** LSN of the commit record, PostgreSQL's text form. */
  readonly tx: string
  /** Transaction id, unsigned 32 bits; for rule R14. */
  readonly xid: number
  /** Commit time at the source, ISO 8601 with milliseconds, UTC. */
  readonly at: string
}

/** Text of a value, null for NULL, 0 for unchanged. */
export type QueueValue = string | null | 0

/**
 * Insert: sequence in the transaction, the new row in column order. Sequences grow within a transaction, with gaps, and are
 * the same when a change is sent again.
 */
export type InsertLine = readonly ['i', number, readonly QueueValue[]]
/**
 * Update: the new row, and the old row or key where it matters: the old values of a key that changed, in key order; of a
 * table without a key the whole old row, in column order. A new value is unchanged (0) only when the old row did not bring
 * it either.
 */
export type UpdateLine =
  | readonly ['u', number, readonly QueueValue[]]
  | readonly ['u', number, readonly QueueValue[], readonly QueueValue[]]
/** Delete: the key values in key order; of a table without a key the whole old row, in column order. */
export type DeleteLine = readonly ['d', number, readonly QueueValue[]]
export type TruncateLine = readonly ['t', number]
export type RowLine = InsertLine | UpdateLine | DeleteLine | TruncateLine

/**
 * Control records. They stand in the same topic as the rows and are ordered with them; each ends its run.
 *
 * `tx`/`seq` are the position, as for rows; `lsn` is the *end* of the commit (rule R3).
 */
export type ControlLine =
  | HoldLine
  | ReleaseLine
  | JoinLine
  | LeaveLine
  | GapLine
  | MarkLine
  | TableChangedLine

interface ControlBase {
  readonly tx: string
  readonly seq: number
  readonly at: string
}

/** First watermark of a backfill: apply flushes what came before, pauses the table and records *held*. */
export interface HoldLine extends ControlBase {
  readonly control: 'hold'
  readonly lsn: string
  readonly uid: string
  /** metadata.name of the TableBackfill, in the Pipeline's namespace: rule R8 asks the API server for it. */
  readonly name: string
  readonly action: 'DoNothing' | 'Truncate' | 'Drop'
}

/** Second watermark: passing it means drained. */
export interface ReleaseLine extends ControlBase {
  readonly control: 'release'
  readonly lsn: string
  readonly uid: string
}

/** Apply makes what came before durable, and the ledger's position pass this: somebody waits for that. Changes nothing else. */
export interface MarkLine extends ControlBase {
  readonly control: 'mark'
  readonly lsn: string
}

/** The table joined the publication here; changes before this are not in the queue. */
export interface JoinLine extends ControlBase {
  readonly control: 'join'
  readonly lsn: string
}

/** The table left the publication; changes after this are not in the queue. */
export interface LeaveLine extends ControlBase {
  readonly control: 'leave'
  readonly lsn: string
}

/** Changes are missing before this point (rules R22, R23); the epoch of the header is the new one. */
export interface GapLine extends ControlBase {
  readonly control: 'gap'
  readonly code: 'SlotLost' | 'SourceChanged' | 'QueueLost' | 'PublicationChanged'
  readonly message: string
}

/** The source's table changed in a way that row events do not show (rule R20). Apply stops the table. */
export interface TableChangedLine extends ControlBase {
  readonly control: 'changed'
  readonly code: 'TableChanged' | 'SchemaChangeUnsupported'
  readonly message: string
}

/** Prefix of the logical decoding messages that Millrace writes into the source's log. */
export const MESSAGE_PREFIX = 'millrace'

/** Content of such a message: JSON. `slot` keeps two pipelines on one database apart. */
export type LogMessage =
  | {
      readonly kind: 'hold'
      readonly slot: string
      readonly schema: string
      readonly table: string
      readonly uid: string
      readonly name: string
      readonly action: HoldLine['action']
    }
  | {
      readonly kind: 'release'
      readonly slot: string
      readonly schema: string
      readonly table: string
      readonly uid: string
    }
  | {
      readonly kind: 'join' | 'leave' | 'mark'
      readonly slot: string
      readonly schema: string
      readonly table: string
    }
  /** Written by capture when it finds, and mends, that changes of the table were not published for a while. */
  | {
      readonly kind: 'gap'
      readonly slot: string
      readonly schema: string
      readonly table: string
      readonly code: 'PublicationChanged'
      readonly message: string
    }
  | { readonly kind: 'heartbeat'; readonly slot: string }
