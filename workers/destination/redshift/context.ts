import type { Logger } from '../../../lib/log.ts'
import type { TableDefinition, TableName } from '../../source/table.ts'
import type { TableOptions } from '../destination.ts'
import type { ObjectCalls } from './aws.ts'
import type { Buffers } from './buffers.ts'
import type { TargetTable } from './catalog.ts'
import type { ColumnRules, UnfitPolicy } from './columns.ts'
import type { Known } from './ledger-known.ts'
import type { LedgerStore } from './ledger-store.ts'
import type { RedshiftSettings } from './settings.ts'
import type { CopySource } from './write-sql.ts'

/** What the parts of the destination work with. */
export interface RedshiftContext {
  readonly store: LedgerStore
  readonly known: Known
  readonly files: Files
  /** For files of chunks. */
  readonly buffers: Buffers
  readonly rules: (definition: TableDefinition) => ColumnRules
  readonly settings: RedshiftSettings
  readonly policy: UnfitPolicy
  readonly onUnfit: (table: TableName, column: string, count: number) => void
  /** Tables of the destination as last seen, by their quoted names. */
  readonly targets: Map<string, TargetTable>
  readonly log: Logger
  readonly now: () => number
}

/** Files in the bucket. */
export interface Files {
  objects(): Promise<ObjectCalls>
  /** What the keys of all files of this pipeline begin with. */
  readonly prefix: string
  /** Writes the manifest of files that one COPY loads. */
  manifest(keys: readonly string[], name: string, signal: AbortSignal): Promise<Loadable>
  /** Removes files in the background; what fails is left to the sweep. */
  discard(keys: readonly string[]): void
}

export interface Loadable {
  readonly source: CopySource
  /** The files and the manifest. */
  readonly keys: readonly string[]
}

/** The table a definition is written to, and how. */
export interface TableRequest {
  readonly target: TableName
  readonly definition: TableDefinition
  readonly options: TableOptions
}
