import type { Logger } from '../../lib/log.ts'
import type { Destination } from '../destination/destination.ts'
import type { Connection, PostgresTarget } from '../source/connect.ts'
import type { SourceNames } from '../source/publication.ts'
import type { TableDefinition } from '../source/table.ts'
import type { Garbage } from './garbage.ts'
import type { BackfillMetrics } from './metrics.ts'
import type { OwnWatch } from './own-watch.ts'
import type { Report } from './report.ts'
import type { CopySettings } from './settings.ts'

/** What stays the same for as long as the process lives. */
export interface Job {
  /** metadata.uid and name of the TableBackfill. */
  readonly uid: string
  readonly name: string
  readonly log: Logger
  readonly report: Report
  readonly metrics: BackfillMetrics
  readonly own: OwnWatch
  readonly garbage: Garbage
  /** The backfill has come closer to its end. */
  progressed(): void
}

/** What one attempt has opened and read; the next one looks at everything anew. */
export interface Attempt extends Job {
  readonly settings: CopySettings
  readonly names: SourceNames
  readonly destination: Destination
  readonly primary: PostgresTarget
  readonly replicas: readonly PostgresTarget[]
  /** A session on the primary for short statements. */
  readonly control: Connection
  /** Until the table is held, what the primary said at the start, which may be out of date; then what the scanned server says. */
  readonly definition: TableDefinition
  /** Reads the definition where a session leads; throws what stands against replicating it. */
  readDefinition(connection: Connection): Promise<TableDefinition>
  readonly readFrom: 'Replica' | 'Primary'
  readonly signal: AbortSignal
}
