/**
 * What a schedule leaves behind for the checks: one JSON object a line in `out/torture/<seed>/history.jsonl`. Times are
 * milliseconds since 1970 by the one clock of the machine; positions in the log are PostgreSQL's text form.
 *
 * An *image* stands for a row's values in the columns that it was made with, so that a row of the source and its copy have
 * the same one: a hash of the key and one of each further column, with dots between. Images are unique over time for tables with
 * a key: each write gives its row a new revision.
 */
export type Event =
  | LedgerEvent
  | WriteEvent
  | CommitEvent
  | RunEvent
  | RecordEvent
  | SlotEvent
  | TopicEvent
  | BackfillEvent
  | PipelineEvent
  | ScanEvent
  | StruckEvent
  | SettingEvent

/** What a schedule was set to. */
export interface SettingEvent {
  readonly kind: 'setting'
  readonly maxConcurrentTables: number
  /** Tables of the source that were copied from the primary by some backfill. */
  readonly readFromPrimary: readonly string[]
  /** Without a key; images are not unique. */
  readonly keyless: readonly string[]
  /** The source was replaced by its replica: what its log said before means nothing any more. */
  readonly failedOver: boolean
}

/** A row of the ledger changed, told by a trigger. `id` grows; `tx` is the destination's transaction. */
export interface LedgerEvent {
  readonly kind: 'ledger'
  readonly at: number
  readonly id: number
  readonly tx: string
  readonly of: 'tables' | 'backfills' | 'chunks'
  readonly old: LedgerRow | null
  readonly new: LedgerRow | null
  /** Of a chunk: its backfill as the transaction saw it. */
  readonly backfill: LedgerRow | null
}
export type LedgerRow = Readonly<Record<string, string | number | boolean | null>>

/** A replicated table of the destination was written to, told by a trigger. */
export interface WriteEvent {
  readonly kind: 'write'
  readonly at: number
  readonly id: number
  readonly tx: string
  readonly table: string
  readonly change: Change
}

export type Change =
  | { readonly op: 'row'; readonly old: string | null; readonly new: string | null }
  | { readonly op: 'truncate' }
  | { readonly op: 'create' }
  | { readonly op: 'drop' }

/** A transaction of the source, in commit order by a replication slot that nobody else reads. */
export interface CommitEvent {
  readonly kind: 'commit'
  readonly at: number
  /** Where its commit record ends. */
  readonly end: string
  readonly xid: number
  readonly changes: readonly { readonly table: string; readonly change: Change }[]
}

/** A run of a topic, in the order of offsets. */
export interface RunEvent {
  readonly kind: 'run'
  /** When its last record was sent. */
  readonly at: number
  readonly topic: string
  readonly table: string
  readonly offset: number
  readonly incarnation: string
  readonly epoch: number
  readonly lines: readonly RunLine[]
}

export type RunLine =
  | { readonly tx: string; readonly xid: number; readonly sequences: readonly number[] }
  | {
      readonly control: string
      readonly tx: string
      readonly seq: number
      readonly lsn: string
      readonly uid: string
    }

/** Capture's own record: how far the queue has the log. */
export interface RecordEvent {
  readonly kind: 'record'
  readonly at: number
  readonly epoch: number
  readonly lsn: string
}

/** What the source says was acknowledged; null while there is no slot. */
export interface SlotEvent {
  readonly kind: 'slot'
  /** After it was asked. */
  readonly at: number
  readonly confirmed: string | null
}

/** The first offset that a topic still has. */
export interface TopicEvent {
  readonly kind: 'topic'
  /** After it was asked. */
  readonly at: number
  readonly topic: string
  readonly earliest: number
}

/** A TableBackfill as the API server shows it. */
export interface BackfillEvent {
  readonly kind: 'backfill'
  readonly at: number
  readonly name: string
  readonly uid: string
  readonly table: string
  readonly phase: string
  readonly queue: string
  /** Cancelled, or being deleted. */
  readonly calledOff: boolean
  /** Suspended, or in the line to go on after that: it takes no place. */
  readonly waits: boolean
  /** The operator ends it, by its status; one that waited has no place then either. */
  readonly ends: boolean
  readonly deleted: boolean
}

/** A Pipeline's tables as the API server shows them. */
export interface PipelineEvent {
  readonly kind: 'pipeline'
  readonly at: number
  readonly tables: readonly {
    readonly table: string
    readonly state: string
    readonly historyComplete: boolean
  }[]
}

/** A COPY out of a table that a server has carried out. */
export interface ScanEvent {
  readonly kind: 'scan'
  readonly server: 'primary' | 'replica'
  readonly table: string
  readonly calls: number
}

/** Something was done to the schedule. */
export interface StruckEvent {
  readonly kind: 'struck'
  readonly at: number
  readonly what: string
}

/** What is told of a slot that was moved on by hand; then again with where to. */
export const MOVE_SLOT = 'move the slot on'

export type Kind = Event['kind']
export type Of<K extends Kind> = Extract<Event, { kind: K }>

/** A recorded history, in no particular order but that each kind has its own. */
export type History = readonly Event[]

export function of<K extends Kind>(history: History, kind: K): Of<K>[] {
  return history.filter((event): event is Of<K> => event.kind === kind)
}

/** Checks one rule; returns what breaks it, in words. */
export type Check = (history: History) => string[]
