import { MillraceError } from '../../../lib/errors.ts'
import { tableLabel } from '../../source/table.ts'
import { marksDeleted } from '../names.ts'
import type { TargetTable } from './catalog.ts'
import { conform, type TableRequest } from './ensure-table.ts'
import type { Session } from './sessions.ts'
import { isIndexed } from './table-plan.ts'
import type { Writing } from './write-sql.ts'

/**
 * How to write rows of the request's definition into `table`; the table is conformed first when it lacks a column, for
 * which the session must be in a transaction.
 */
export async function writingFor(
  session: Session,
  table: TargetTable,
  request: TableRequest,
): Promise<Writing> {
  const ready = tryWriting(table, request)
  if (ready) return ready
  const conformed = await conform(session, request, false)
  const writing = tryWriting(conformed.table, request)
  if (!writing) {
    throw new MillraceError(
      'Internal',
      `destination table ${tableLabel(table.name)} lacks columns after it was conformed`,
    )
  }
  return writing
}

function tryWriting(
  table: TargetTable,
  { definition, options }: Pick<TableRequest, 'definition' | 'options'>,
): Writing | undefined {
  const there = new Map(table.columns.map((column) => [column.name, column]))
  const columns = definition.columns.flatMap((column) => there.get(column.name) ?? [])
  const softColumn = marksDeleted(
    [...there.keys()],
    definition.columns.map(({ name }) => name),
  )
  if (columns.length < definition.columns.length || (options.deletes === 'Soft' && !softColumn)) return
  const key = definition.key.map((name) => columns.findIndex((column) => column.name === name))
  const indexed = key.length > 0 && isIndexed(table.uniqueKeys, definition.key)
  return { table, columns, key, indexed, softColumn }
}
