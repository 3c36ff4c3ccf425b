import type { PipelineSpec } from '../../crds/pipeline.ts'
import { MillraceError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { Secrets } from '../runtime/context.ts'
import type { TableName } from '../source/table.ts'
import type { Destination } from './destination.ts'
import { withFailpoints } from './failpoints.ts'
import { openPostgresDestination } from './postgres/destination.ts'
import { openRedshiftDestination } from './redshift/destination.ts'

export interface DestinationOptions {
  readonly spec: Pick<PipelineSpec, 'destination'>
  /** metadata.uid of the Pipeline: whose ledger rows these are. */
  readonly pipelineUid: string
  /** `namespace/name` of the Pipeline, for the message that another one gets which wants the same table. */
  readonly pipelineLabel: string
  readonly secrets: Secrets
  /** Name of the process, for the destination's list of sessions. */
  readonly process: string
  readonly log: Logger
  /** Calls that may be at work at the same time; further ones wait. Default 8. */
  readonly maxConnections?: number
  /**
   * Told of values that the destination cannot hold and that were changed as the Pipeline's policy says: how many of a column
   * since the last call. What is written again after a failure is counted again.
   */
  readonly onUnfit?: (table: TableName, column: string, count: number) => void
}

/**
 * The destination of a Pipeline. Does not connect: the first call does.
 *
 * Throws `InvalidSpec` when the spec does not name exactly one kind of destination.
 */
export function openDestination(options: DestinationOptions): Destination {
  const { postgres, redshift } = options.spec.destination
  if (postgres && !redshift)
    return withFailpoints(openPostgresDestination({ ...options, destination: postgres }))
  if (redshift && !postgres)
    return withFailpoints(openRedshiftDestination({ ...options, destination: redshift }))
  throw new MillraceError(
    'InvalidSpec',
    `spec.destination: ${postgres ? 'both' : 'neither'} of postgres and redshift found; set exactly one`,
    { field: 'spec.destination' },
  )
}
