import { MillraceError } from '../../lib/errors.ts'
import { type ColumnFilter, type TableName, tableLabel } from './table.ts'

/** Whether a filter lets a column through. */
export function isIncluded(filter: ColumnFilter | undefined, column: string): boolean {
  if (filter?.include) return filter.include.includes(column)
  return !filter?.exclude?.includes(column)
}

/**
 * The columns that a filter leaves, in their order.
 *
 * Throws `ColumnNotFound` when the filter names one that is not there, `InvalidSpec` when a key column would be missing.
 */
export function filterColumns<C extends { readonly name: string }>(
  table: TableName,
  columns: readonly C[],
  key: readonly string[],
  filter: ColumnFilter | undefined,
  field: string,
): readonly C[] {
  if (!filter) return columns
  const part = filter.include ? 'include' : 'exclude'
  const names = new Set(columns.map((column) => column.name))
  const unknown = filter.include?.find((name) => !names.has(name))
  if (unknown !== undefined) {
    const at = `${field}.columns.include`
    throw new MillraceError(
      'ColumnNotFound',
      `${at}: table ${tableLabel(table)} has no column ${JSON.stringify(unknown)} that can be replicated (generated columns cannot): remove it from the list, or add the column to the table`,
      { field: at, retryable: true },
    )
  }
  const lost = key.find((name) => !isIncluded(filter, name))
  if (lost !== undefined) {
    const at = `${field}.columns.${part}`
    throw new MillraceError(
      'InvalidSpec',
      `${at}: column ${JSON.stringify(lost)} belongs to the key of table ${tableLabel(table)} and must be replicated: ${part === 'include' ? 'add it to the list' : 'remove it from the list'}`,
      { field: at, retryable: true },
    )
  }
  return columns.filter((column) => isIncluded(filter, column.name))
}
