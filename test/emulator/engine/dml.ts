import type {
  Assignment,
  DeleteStatement,
  Expr,
  FromItem,
  InsertStatement,
  MergeStatement,
  Query,
  QueryBody,
  TableRef,
  UpdateStatement,
} from '../sql/ast.ts'
import { RedshiftError, UnknownToEmulator } from '../sql/errors.ts'
import { displayTable, HOME, sqlName, sqlTable } from '../sql/names.ts'
import { type RenderContext, renderExpr, renderFrom, renderQuery, renderWith } from '../sql/render.ts'
import type { ColumnInfo, TableInfo } from './catalog.ts'
import { type Outcome, renderContext, type StatementContext, userTables } from './statement.ts'

function tableOnly(info: TableInfo | undefined, verb: string): TableInfo {
  if (!info) throw new Error('a table was not looked up')
  if (info.kind === 'view') throw new RedshiftError('0A000', `cannot ${verb} a view`)
  return info
}

function columnOf(table: TableInfo, name: string): ColumnInfo {
  const column = table.columns.find((each) => each.name === name)
  if (column) return column
  throw new RedshiftError('42703', `column "${name}" of relation "${table.ref.name}" does not exist`)
}

/** SQL of a value on its way into a column, where Redshift converts otherwise than PostgreSQL. */
export function renderAssigned(value: Expr, column: ColumnInfo, ctx: RenderContext): string {
  const rendered = renderExpr(value, ctx)
  if (value.kind === 'default' || value.kind === 'null') return rendered
  switch (column.type.kind) {
    case 'super':
      // A string becomes a SUPER string: JSON_PARSE is what parses.
      return `${HOME}.to_super(${rendered})`
    case 'varbyte':
      if (value.kind === 'string' || value.kind === 'param') {
        throw new UnknownToEmulator('a string for a VARBYTE column without TO_VARBYTE or FROM_HEX')
      }
      return rendered
    case 'timetz':
      return `${HOME}.utc(CAST(${rendered} AS timetz))`
    default:
      return rendered
  }
}

export async function runInsert(statement: InsertStatement, ctx: StatementContext): Promise<Outcome> {
  const reads = userTables(statement.source, ctx, [statement.table])
  const tables = await ctx.session.prepare({ reads, writes: [{ table: statement.table, lock: 'insert' }] })
  const target = tableOnly(tables.get(statement.table), 'insert into')
  const columns = statement.columns?.map((name) => columnOf(target, name)) ?? target.columns
  const sql = renderInsert(statement, columns, renderContext(ctx))
  return { rowCount: (await ctx.session.run(sql)).rowCount }
}

function renderInsert(
  statement: InsertStatement,
  columns: readonly ColumnInfo[],
  ctx: RenderContext,
): string {
  const { source } = statement
  const list = statement.columns ? ` (${statement.columns.map(sqlName).join(', ')})` : ''
  const into = `INSERT INTO ${sqlTable(statement.table)}${list}`
  if (source.kind === 'default values') return `${into} DEFAULT VALUES`
  if (source.kind === 'query') return `${into} ${renderQuery(assignQuery(source.query, columns), ctx)}`
  const rows = source.rows.map(
    (row) =>
      `(${row.map((value, index) => renderAssigned(value, expected(columns, index), ctx)).join(', ')})`,
  )
  return `${into} VALUES ${rows.join(', ')}`
}

function expected(columns: readonly ColumnInfo[], index: number): ColumnInfo {
  const column = columns[index]
  if (!column) throw new RedshiftError('42601', 'INSERT has more expressions than target columns')
  return column
}

/** Marks the outputs of a query that go into SUPER, VARBYTE and TIMETZ columns, wherever the outputs are listed. */
function assignQuery(query: Query, columns: readonly ColumnInfo[]): Query {
  const assignBody = (body: QueryBody): QueryBody => {
    if (body.kind === 'nested') return { ...body, query: assignQuery(body.query, columns) }
    if (body.kind === 'set') return { ...body, left: assignBody(body.left), right: assignBody(body.right) }
    if (body.items.some(({ kind }) => kind === 'star')) return body
    return {
      ...body,
      items: body.items.map((item, index) =>
        item.kind === 'value' ? { ...item, value: assignedExpr(item.value, expected(columns, index)) } : item,
      ),
    }
  }
  return { ...query, body: assignBody(query.body) }
}

function assignedExpr(value: Expr, { type }: ColumnInfo): Expr {
  const literal = value.kind === 'string' || value.kind === 'param'
  if (type.kind === 'varbyte' && literal) {
    throw new UnknownToEmulator('a string for a VARBYTE column without TO_VARBYTE or FROM_HEX')
  }
  // A cast to the column's type does what the assignment does; that of a whole column would only cost time.
  return (type.kind === 'super' && value.kind !== 'null' && value.kind !== 'column') ||
    (type.kind === 'timetz' && literal)
    ? { kind: 'cast', value, type }
    : value
}

function renderSet(assignments: readonly Assignment[], target: TableInfo, ctx: RenderContext): string {
  return assignments
    .map(
      ({ column, value }) => `${sqlName(column)} = ${renderAssigned(value, columnOf(target, column), ctx)}`,
    )
    .join(', ')
}

export async function runUpdate(statement: UpdateStatement, ctx: StatementContext): Promise<Outcome> {
  const { table, set, from, where } = statement
  const reads = userTables(withoutTarget(statement), ctx, [table])
  const tables = await ctx.session.prepare({ reads, writes: [{ table, lock: 'modify' }] })
  const target = tableOnly(tables.get(table), 'update')
  requireEquijoin(from, where)
  const render = renderContext(ctx)
  const alias = statement.alias === undefined ? '' : ` AS ${sqlName(statement.alias)}`
  const condition = where ? ` WHERE ${renderExpr(where, render)}` : ''
  const joined = from.length > 0 ? ` FROM ${renderFrom(from, render)}` : ''
  const withTables = renderWith(statement.with, render)
  if (from.length > 0)
    await refuseSeveralMatches(
      withTables,
      `${sqlTable(table)}${alias}`,
      statement.alias ?? table.name,
      renderFrom(from, render),
      condition,
      ctx,
    )
  const sql = `${withTables} UPDATE ${sqlTable(table)}${alias} SET ${renderSet(set, target, render)}${joined}${condition}`
  return { rowCount: (await ctx.session.run(sql)).rowCount }
}

/** A statement's parts but the table it changes, which is locked as written and not as read. */
function withoutTarget<T extends { table: TableRef }>(statement: T): object {
  const { table: _, ...rest } = statement
  return rest
}

/** Redshift joins the changed table to others by equality only. */
function requireEquijoin(joined: readonly FromItem[], where: Expr | undefined) {
  if (joined.length === 0) return
  const conjuncts = where ? splitAnd(where) : []
  const equal = conjuncts.some(
    (each) =>
      (each.kind === 'binary' && each.operator === '=') || each.kind === 'in' || each.kind === 'exists',
  )
  if (!equal) throw new RedshiftError('0A000', 'Target table must be part of an equijoin predicate')
}

function splitAnd(expr: Expr): Expr[] {
  return expr.kind === 'binary' && expr.operator === 'and'
    ? [...splitAnd(expr.left), ...splitAnd(expr.right)]
    : [expr]
}

/** Which of several matching rows an UPDATE takes is chance, in Redshift as here. */
async function refuseSeveralMatches(
  withTables: string,
  target: string,
  name: string,
  from: string,
  condition: string,
  ctx: StatementContext,
) {
  const ctid = `${sqlName(name)}.ctid`
  const sql = `${withTables} SELECT 1 FROM ${target}, ${from}${condition} GROUP BY ${ctid} HAVING pg_catalog.count(*) > 1 LIMIT 1`
  if ((await ctx.session.run(sql)).rows.length > 0) {
    throw new UnknownToEmulator(
      'which row an UPDATE takes when several of the joined rows match one of the target',
    )
  }
}

export async function runDelete(statement: DeleteStatement, ctx: StatementContext): Promise<Outcome> {
  const { table, using, where } = statement
  const reads = userTables(withoutTarget(statement), ctx, [table])
  const tables = await ctx.session.prepare({ reads, writes: [{ table, lock: 'modify' }] })
  tableOnly(tables.get(table), 'delete from')
  requireEquijoin(using, where)
  const render = renderContext(ctx)
  const joined = using.length > 0 ? ` USING ${renderFrom(using, render)}` : ''
  const condition = where ? ` WHERE ${renderExpr(where, render)}` : ''
  const sql = `${renderWith(statement.with, render)} DELETE FROM ${sqlTable(table)}${joined}${condition}`
  return { rowCount: (await ctx.session.run(sql)).rowCount }
}

export async function runMerge(statement: MergeStatement, ctx: StatementContext): Promise<Outcome> {
  const { table, source, on, matched, insert } = statement
  if (displayTable(table) === displayTable(source)) {
    throw new RedshiftError('0A000', 'MERGE source and target cannot be the same table')
  }
  const reads = [source, ...userTables([on, matched, insert], ctx, [table, source])]
  const tables = await ctx.session.prepare({ reads, writes: [{ table, lock: 'modify' }] })
  const target = tableOnly(tables.get(table), 'merge into')
  if (tables.get(source)?.kind === 'view')
    throw new RedshiftError('0A000', 'MERGE source must be a table: a view is not supported')
  for (const each of splitAnd(on)) {
    if (each.kind !== 'binary' || each.operator !== '=') {
      throw new UnknownToEmulator('a MERGE condition that is not made of equalities')
    }
  }
  const render = renderContext(ctx)
  const columns = insert.columns?.map((name) => columnOf(target, name)) ?? target.columns
  const list = insert.columns ? ` (${insert.columns.map(sqlName).join(', ')})` : ''
  const values = insert.values.map((value, index) => renderAssigned(value, expected(columns, index), render))
  const alias = sqlName(statement.alias ?? source.name)
  const condition = renderExpr(on, render)
  await refuseDuplicateTargets(
    sqlTable(table),
    `${sqlTable(source)} AS ${alias}`,
    `${alias}.ctid`,
    condition,
    ctx,
  )
  const action = matched.kind === 'delete' ? 'DELETE' : `UPDATE SET ${renderSet(matched.set, target, render)}`
  const sql = `MERGE INTO ${sqlTable(table)} USING ${sqlTable(source)} AS ${alias} ON ${condition}
    WHEN MATCHED THEN ${action} WHEN NOT MATCHED THEN INSERT${list} VALUES (${values.join(', ')})`
  return { rowCount: (await ctx.session.run(sql)).rowCount }
}

/** Of a target with several rows for one source row, Redshift's documents say both that it fails and that one row stays. */
async function refuseDuplicateTargets(
  target: string,
  source: string,
  ctid: string,
  condition: string,
  ctx: StatementContext,
) {
  const sql = `SELECT 1 FROM ${target}, ${source} WHERE ${condition} GROUP BY ${ctid} HAVING pg_catalog.count(*) > 1 LIMIT 1`
  if ((await ctx.session.run(sql)).rows.length > 0) {
    throw new UnknownToEmulator('what MERGE does when several rows of the target match one of the source')
  }
}
