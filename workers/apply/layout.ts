import { MillraceError } from '../../lib/errors.ts'
import type { HeaderColumn, QueueValue } from '../queue/format.ts'
import { type TableDefinition, tableLabel } from '../source/table.ts'

/** How the values of a header's rows stand in the rows of a definition. */
export interface Layout {
  readonly definition: TableDefinition
  /** Rows lack columns that the definition has; those count as unchanged (rule R19). */
  readonly isWide: boolean
  /** A new row in the definition's order; undefined = unchanged or lacking. */
  image(values: readonly QueueValue[]): (string | null | undefined)[]
  /** Key of a row, in key order. Throws `Internal` when the row has none. */
  keyOf(image: readonly (string | null | undefined)[]): string[]
  /** Key that an old tuple stands for: the key's values in key order, or a whole row. */
  identity(values: readonly QueueValue[]): string[]
}

/** @param columns of the header; each must be in the definition */
export function createLayout(columns: readonly HeaderColumn[], definition: TableDefinition): Layout {
  const places = new Map(columns.map(([name], index) => [name, index]))
  const sources = definition.columns.map(({ name }) => places.get(name) ?? -1)
  const inOrder = columns.length === sources.length && sources.every((source, index) => source === index)
  const key = definition.key.map((name) => definition.columns.findIndex((column) => column.name === name))

  function image(values: readonly QueueValue[]): (string | null | undefined)[] {
    if (inOrder && !values.includes(0)) return values as (string | null)[]
    return sources.map((source) => {
      const value = source < 0 ? 0 : values[source]
      return value === 0 ? undefined : value
    })
  }

  function keyOf(row: readonly (string | null | undefined)[]): string[] {
    return key.map((index) => text(row[index]))
  }

  function text(value: QueueValue | undefined): string {
    if (typeof value === 'string') return value
    throw new MillraceError('Internal', `queue: a change of table ${tableLabel(definition)} has no key`)
  }

  return {
    definition,
    isWide: sources.includes(-1),
    image,
    keyOf,
    // Key values come alone unless the identity is full; where all columns belong to the key it is the key as well.
    identity: (values) => (values.length === key.length ? values.map(text) : keyOf(image(values))),
  }
}
