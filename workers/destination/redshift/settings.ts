import type { RedshiftDestination } from '../../../crds/redshift.ts'
import type { TableName } from '../../source/table.ts'

export type TableOverride = NonNullable<RedshiftDestination['tables']>[number]
export type ColumnOverride = NonNullable<TableOverride['columns']>[number]

/** What the spec says of single tables. */
export interface RedshiftSettings {
  /** By the table's name in the source. */
  table(table: TableName): TableOverride | undefined
}

export function redshiftSettings(destination: Pick<RedshiftDestination, 'tables'>): RedshiftSettings {
  return {
    table: (table) =>
      destination.tables?.find((each) => each.schema === table.schema && each.name === table.name),
  }
}
