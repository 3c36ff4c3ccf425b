import type { PipelineSpec, PipelineTable } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import type { Logger } from '../../lib/log.ts'
import type { Destination, TableOptions } from '../destination/destination.ts'
import type { LedgerBackfill } from '../destination/ledger.ts'
import type { Queue } from '../queue/queue.ts'
import type { Memory } from '../runtime/memory.ts'
import type { TableName } from '../source/table.ts'
import type { Scope } from './hold.ts'
import type { ApplyMetrics } from './metrics.ts'
import type { SourceReader } from './source.ts'

/** What the tables share. */
export interface ApplyEnv {
  readonly destination: Destination
  readonly queue: Queue
  readonly topics: TopicControl
  readonly source: SourceReader
  readonly memory: Memory
  readonly metrics: ApplyMetrics
  readonly log: Logger
  /** Begin of the topics' names. */
  readonly prefix: string
  /** The Pipeline's spec as last seen. */
  spec(): PipelineSpec
  /** Changes are to be applied, not only to be gathered in the queue. */
  isRunning(): boolean
  /** The Pipeline was last seen to be deleted, or to go. */
  isDeleting(): boolean
  /** What was last seen of a TableBackfill; a cache. */
  seenBackfill(uid: string): TableBackfill | undefined
  /** Backfills of the table as last seen; a cache. */
  seenBackfills(table: TableName): readonly TableBackfill[]
  /** What was last seen of the Pipeline; a cache. */
  seenScope(table: TableName): Scope
  /** The same, asked of the API server at this moment (rule R8). */
  freshBackfill(name: string, signal: AbortSignal): Promise<TableBackfill | undefined>
  freshScope(table: TableName, signal: AbortSignal): Promise<Scope>
  /** An earlier process, or session, has reported of the table that something of it is in the destination. */
  wasApplied(table: TableName): boolean
  /** A ledger row of a backfill was seen; what it says is reported in the status of its TableBackfill. */
  sawBackfill(backfill: LedgerBackfill): void
  /** A table's facts have changed, which its status tells; `urgent`: others wait for it. */
  changed(urgent: boolean): void
}

/** What a table may do to its topic. */
export interface TopicControl {
  /** Records from this offset on go to `push`. */
  open(topic: string, offset: bigint): void
  close(topic: string): void
  /** Nothing more for the moment. */
  pause(topic: string): void
  resume(topic: string): void
}

export function listedTable(spec: PipelineSpec, table: TableName): PipelineTable | undefined {
  return spec.tables.find(({ schema, name }) => schema === table.schema && name === table.name)
}

export function tableOptions(spec: PipelineSpec): TableOptions {
  return { deletes: spec.apply.deletes }
}
