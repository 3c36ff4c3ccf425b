import type { DataType, Query } from '../sql/ast.ts'
import { RedshiftError, UnknownToEmulator } from '../sql/errors.ts'
import { HOME, redshiftName } from '../sql/names.ts'
import { renderQuery } from '../sql/render.ts'
import { convertRows, describeColumns } from './result.ts'
import { type Outcome, renderContext, type StatementContext, userTables } from './statement.ts'

export async function runQuery(query: Query, ctx: StatementContext): Promise<Outcome> {
  await ctx.session.prepare({ reads: userTables(query, ctx), writes: [] })
  const { rows, fields } = await ctx.session.run(renderQuery(query, renderContext(ctx)))
  const converted = convertRows(rows, fields, ctx.limits)
  const columns = await describeColumns(ctx.session.backend, fields)
  return { rowCount: rows.length, result: { columns, ...converted } }
}

/** Types by PostgreSQL's number where no table column stands behind an output. */
const PLAIN_TYPES: Record<number, DataType> = {
  16: { kind: 'boolean' },
  20: { kind: 'bigint' },
  21: { kind: 'smallint' },
  23: { kind: 'integer' },
  700: { kind: 'real' },
  701: { kind: 'double' },
  1082: { kind: 'date' },
  1083: { kind: 'time' },
  1114: { kind: 'timestamp' },
  1184: { kind: 'timestamptz' },
  1266: { kind: 'timetz' },
  3802: { kind: 'super' },
}

/** Names and types that a table or view made of this query gets. */
export async function describeQuery(
  query: Query,
  ctx: StatementContext,
): Promise<{ name: string; type: DataType }[]> {
  const sql = `SELECT * FROM (${renderQuery(query, renderContext(ctx))}) AS q LIMIT 0`
  const { fields } = await ctx.session.run(sql)
  const origins = await ctx.session.backend.query(
    `select relation, attnum, kind, length, scale from ${HOME}.columns where relation = any($1::oid[])`,
    [fields.map(({ tableID }) => tableID)],
  )
  return fields.map(({ name, tableID, columnID, dataTypeID }) => {
    const origin = origins.rows.find(
      ([oid, attnum]) => Number(oid) === tableID && Number(attnum) === columnID,
    )
    const type = origin ? typeOf(origin) : PLAIN_TYPES[dataTypeID]
    if (!type)
      throw new UnknownToEmulator(
        `the length of the column ${redshiftName(name)}, which is not a plain column of a table`,
      )
    if (redshiftName(name) === '?column?')
      throw new RedshiftError('42601', 'a column of the new relation has no name')
    return { name: redshiftName(name), type }
  })
}

function typeOf([, , kind, length, scale]: readonly (string | null)[]): DataType {
  return {
    kind: kind as DataType['kind'],
    ...(length != null && { length: Number(length) }),
    ...(scale != null && { scale: Number(scale) }),
  }
}
