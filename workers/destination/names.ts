import type { PipelineSpec } from '../../crds/pipeline.ts'
import { MillraceError } from '../../lib/errors.ts'
import { type TableName, tableLabel } from '../source/table.ts'

/** Column of a table with soft deletes: true in rows that the source has deleted. */
export const SOFT_DELETE_COLUMN = '__millrace_deleted'

/**
 * Where a table of the source is in the destination: its own names, else the destination's default schema, else the
 * names it has in the source.
 *
 * @param table the names in the source; a table that the spec does not list (any more) gets the defaults
 */
export function destinationTable(
  spec: Pick<PipelineSpec, 'destination' | 'tables'>,
  table: TableName,
): TableName {
  const listed = spec.tables.find((each) => each.schema === table.schema && each.name === table.name)
  const defaults = spec.destination.postgres ?? spec.destination.redshift
  return {
    schema: listed?.destination?.schema ?? defaults?.schema ?? table.schema,
    name: listed?.destination?.name ?? table.name,
  }
}

/**
 * Whether rows of a destination table are marked as deleted. A column of that name that is replicated is a value like any other: the
 * source may be the destination of another Pipeline.
 */
export function marksDeleted(present: readonly string[], replicated: readonly string[]): boolean {
  return present.includes(SOFT_DELETE_COLUMN) && !replicated.includes(SOFT_DELETE_COLUMN)
}

/** Throws `DestinationConflict` when the source has a column with the name that Millrace uses for its own. */
export function refuseSoftDeleteColumn(
  table: TableName,
  columns: readonly { readonly name: string }[],
): void {
  if (columns.some((column) => column.name === SOFT_DELETE_COLUMN)) {
    throw new MillraceError(
      'DestinationConflict',
      `table ${tableLabel(table)} of the source has a column ${SOFT_DELETE_COLUMN}, which Millrace adds for soft deletes: rename it, or exclude it by the table's columns.exclude`,
      { field: 'spec.tables' },
    )
  }
}
