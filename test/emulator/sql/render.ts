import type {
  DataType,
  Expr,
  FromItem,
  FunctionCall,
  OrderItem,
  Query,
  QueryBody,
  SelectItem,
  TableRef,
} from './ast.ts'
import { RedshiftError, UnknownToEmulator } from './errors.ts'
import { FUNCTIONS, LEADER_ONLY } from './functions.ts'
import { HOME, sqlName, sqlString, sqlTable } from './names.ts'
import { type Place, textColumns } from './text-columns.ts'

/** What rendering needs to know beyond the statement. */
export interface RenderContext {
  /** Values of the Data API's parameters. */
  readonly parameters: ReadonlyMap<string, string>
  /** SQL of a table in FROM with its alias: its name, or a subquery in place of a system view. */
  table(ref: TableRef, alias: string | undefined): string
}

/** Renders an expression for PostgreSQL, with parentheses wherever the two might bind differently. */
export function renderExpr(expr: Expr, ctx: RenderContext): string {
  const sub = (inner: Expr) => renderExpr(inner, ctx)
  switch (expr.kind) {
    case 'string':
      return sqlString(expr.value)
    case 'number':
      return expr.text
    case 'boolean':
      return expr.value ? 'TRUE' : 'FALSE'
    case 'null':
      return 'NULL'
    case 'default':
      return 'DEFAULT'
    case 'param':
      return sqlString(parameter(expr.name, ctx))
    case 'column':
      return renderColumn(expr.path)
    case 'cast':
      return renderCast(sub(expr.value), expr.type)
    case 'interval':
      return `INTERVAL ${sqlString(expr.value)}`
    case 'unary':
      return expr.operator === 'not' ? `(NOT ${sub(expr.value)})` : `(${expr.operator} ${sub(expr.value)})`
    case 'binary':
      return renderBinary(expr.operator, sub(expr.left), sub(expr.right))
    case 'is':
      return `(${sub(expr.value)} IS ${expr.not ? 'NOT ' : ''}${expr.what.toUpperCase()})`
    case 'between':
      return `(${sub(expr.value)} ${expr.not ? 'NOT ' : ''}BETWEEN ${sub(expr.low)} AND ${sub(expr.high)})`
    case 'in':
      return `(${sub(expr.value)} ${expr.not ? 'NOT ' : ''}IN (${renderIn(expr.list, ctx)}))`
    case 'like':
      return renderLike(expr, ctx)
    case 'exists':
      return `EXISTS (${renderQuery(expr.query, ctx, 'inner')})`
    case 'subquery':
      return `(${renderQuery(expr.query, ctx, 'inner')})`
    case 'row':
      return `(${expr.values.map(sub).join(', ')})`
    case 'case':
      return renderCase(expr, ctx)
    case 'call':
      return renderCall(expr, ctx)
  }
}

function parameter(name: string, ctx: RenderContext): string {
  const value = ctx.parameters.get(name)
  if (value === undefined) throw new RedshiftError('42601', `syntax error at or near ":"`)
  return value
}

/** PostgreSQL's hidden columns, which a table of Redshift cannot have and a statement must not see. */
export const SYSTEM_COLUMNS = new Set(['oid', 'tableoid', 'xmin', 'cmin', 'xmax', 'cmax', 'ctid'])

function renderColumn(path: readonly string[]): string {
  const name = path.at(-1) as string
  if (SYSTEM_COLUMNS.has(name) && name !== 'oid') {
    throw new RedshiftError('42703', `column "${name}" does not exist`)
  }
  // database.schema.table.column: of this database, for another one was refused where the table stands.
  return path.slice(-3).map(sqlName).join('.')
}

function renderBinary(operator: string, left: string, right: string): string {
  if (operator === '||') return `${HOME}.concat(${left}, ${right})`
  if (['~', '~*', '!~', '!~*'].includes(operator))
    return `(${HOME}.exact(${left}) ${operator} ${HOME}.exact(${right}))`
  if (operator === '^') return `pg_catalog.power(${left}, ${right})`
  return `(${left} ${operator.toUpperCase()} ${right})`
}

function renderIn(list: readonly Expr[] | Query, ctx: RenderContext): string {
  return 'body' in list
    ? renderQuery(list, ctx, 'inner')
    : list.map((each) => renderExpr(each, ctx)).join(', ')
}

function renderLike(expr: Extract<Expr, { kind: 'like' }>, ctx: RenderContext): string {
  const value = `${HOME}.exact(${renderExpr(expr.value, ctx)})`
  const pattern = `${HOME}.exact(${renderExpr(expr.pattern, ctx)})`
  const escaping = expr.escape === undefined ? '' : ` ESCAPE ${sqlString(expr.escape)}`
  return `(${value} ${expr.not ? 'NOT ' : ''}${expr.operator.toUpperCase()} ${pattern}${escaping})`
}

function renderCase(expr: Extract<Expr, { kind: 'case' }>, ctx: RenderContext): string {
  const operand = expr.operand ? ` ${renderExpr(expr.operand, ctx)}` : ''
  const branches = expr.branches.map(
    ({ when, result }) => ` WHEN ${renderExpr(when, ctx)} THEN ${renderExpr(result, ctx)}`,
  )
  const otherwise = expr.otherwise ? ` ELSE ${renderExpr(expr.otherwise, ctx)}` : ''
  return `(CASE${operand}${branches.join('')}${otherwise} END)`
}

/** Casts whose outcome differs from PostgreSQL's go through functions of the emulator. */
export function renderCast(value: string, type: DataType): string {
  switch (type.kind) {
    case 'varchar':
      return `${HOME}.cast_varchar(${value}, ${type.length})`
    case 'char':
      return `CAST(${HOME}.cast_char(${value}, ${type.length}) AS char(${type.length}))`
    case 'numeric':
      return `CAST(${HOME}.cast_numeric(${value}, ${type.length}, ${type.scale}) AS numeric(${type.length}, ${type.scale}))`
    case 'super':
      return `${HOME}.to_super(${value})`
    case 'varbyte':
      return `${HOME}.cast_varbyte(${value}, ${type.length})`
    case 'timetz':
      return `${HOME}.utc(CAST(${value} AS timetz))`
    default:
      return `CAST(${value} AS ${storageType(type)})`
  }
}

/** Type of a column in PostgreSQL. Text is `bpchar`, whose comparisons leave trailing blanks out as Redshift's do. */
export function storageType(type: DataType): string {
  switch (type.kind) {
    case 'varchar':
      return 'bpchar'
    case 'char':
      return `char(${type.length})`
    case 'numeric':
      return `numeric(${type.length}, ${type.scale})`
    case 'super':
      return 'jsonb'
    case 'varbyte':
      return 'bytea'
    case 'double':
      return 'double precision'
    default:
      return type.kind
  }
}

function renderCall(call: FunctionCall, ctx: RenderContext): string {
  const spec = FUNCTIONS.get(call.name)
  if (!spec) {
    throw LEADER_ONLY.has(call.name) ? leaderOnly() : new UnknownToEmulator(`the function ${call.name}`)
  }
  if (call.star && call.name !== 'count') throw new RedshiftError('42601', `syntax error at or near "*"`)
  const args = call.args.map((arg, index) =>
    index === 0 && spec.datePart && arg.kind === 'column' && arg.path.length === 1
      ? sqlString(arg.path[0] as string)
      : renderExpr(arg, ctx),
  )
  const count = call.star ? 1 : args.length
  if (count < Math.max(spec.min, call.name === 'count' ? 1 : 0) || count > spec.max) {
    throw new RedshiftError('42883', `function ${call.name} does not exist with ${args.length} arguments`)
  }
  if ((call.distinct || call.withinGroup) && spec.kind !== 'aggregate') {
    throw new UnknownToEmulator(`DISTINCT or WITHIN GROUP in ${call.name}`)
  }
  if (spec.kind === 'window' && !call.over)
    throw new RedshiftError('42809', `window function ${call.name} requires an OVER clause`)
  return renderAggregate(call, spec.render(call.star ? ['*'] : args), ctx)
}

function renderAggregate(call: FunctionCall, rendered: string, ctx: RenderContext): string {
  let text = rendered
  const insert = (position: number, part: string) => {
    text = text.slice(0, position) + part + text.slice(position)
  }
  if (call.withinGroup) insert(text.length - 1, ` ORDER BY ${renderOrder(call.withinGroup, ctx)}`)
  if (call.distinct) insert(text.indexOf('(') + 1, 'DISTINCT ')
  if (!call.over) return call.name === 'listagg' ? `CAST(${text} AS bpchar)` : text
  const { partition, order, frame } = call.over
  const parts = [
    partition.length > 0 ? `PARTITION BY ${partition.map((each) => renderExpr(each, ctx)).join(', ')}` : '',
    order.length > 0 ? `ORDER BY ${renderOrder(order, ctx)}` : '',
    frame?.toUpperCase() ?? '',
  ]
  return `${text} OVER (${parts.filter(Boolean).join(' ')})`
}

export function leaderOnly(): RedshiftError {
  return new RedshiftError(
    '0A000',
    'Specified types or functions (one per INFO message) not supported on Redshift tables.',
  )
}

function renderOrder(items: readonly OrderItem[], ctx: RenderContext): string {
  return items
    .map(({ value, direction, nulls }) =>
      [renderExpr(value, ctx), direction?.toUpperCase(), nulls && `NULLS ${nulls.toUpperCase()}`]
        .filter(Boolean)
        .join(' '),
    )
    .join(', ')
}

/** Renders a query for PostgreSQL. Every output column gets the name that Redshift gives it. */
export function renderQuery(
  query: Query,
  ctx: RenderContext,
  place: Place = 'outer',
  texts = textColumns(query.body, place),
): string {
  const parts = [
    renderWith(query.with, ctx),
    renderBody(query.body, ctx, texts),
    query.orderBy.length > 0 ? `ORDER BY ${renderOrder(query.orderBy, ctx)}` : '',
    query.limit ? `LIMIT ${renderExpr(query.limit, ctx)}` : '',
    query.offset ? `OFFSET ${renderExpr(query.offset, ctx)}` : '',
  ]
  return parts.filter(Boolean).join(' ')
}

export function renderWith(tables: Query['with'], ctx: RenderContext): string {
  if (tables.length === 0) return ''
  const rendered = tables.map(({ name, columns, query }) => {
    const list = columns ? ` (${columns.map(sqlName).join(', ')})` : ''
    return `${sqlName(name)}${list} AS (${renderQuery(query, ctx, 'inner')})`
  })
  return `WITH ${rendered.join(', ')}`
}

function renderBody(body: QueryBody, ctx: RenderContext, texts: ReadonlySet<number>): string {
  if (body.kind === 'nested') return `(${renderQuery(body.query, ctx, 'inner', texts)})`
  if (body.kind === 'set') {
    const operator = `${body.operator.toUpperCase()}${body.all ? ' ALL' : ''}`
    return `(${renderBody(body.left, ctx, texts)}) ${operator} (${renderBody(body.right, ctx, texts)})`
  }
  const { distinct, items, from, where, groupBy, having } = body
  const parts = [
    `SELECT${distinct ? ' DISTINCT' : ''} ${items.map((item, index) => renderItem(item, ctx, texts.has(index))).join(', ')}`,
    from.length > 0 ? `FROM ${renderFrom(from, ctx)}` : '',
    where ? `WHERE ${renderExpr(where, ctx)}` : '',
    groupBy.length > 0 ? `GROUP BY ${groupBy.map((each) => renderExpr(each, ctx)).join(', ')}` : '',
    having ? `HAVING ${renderExpr(having, ctx)}` : '',
  ]
  return parts.filter(Boolean).join(' ')
}

function renderItem(item: SelectItem, ctx: RenderContext, text: boolean): string {
  if (item.kind === 'star') return item.table ? `${item.table.slice(-2).map(sqlName).join('.')}.*` : '*'
  const value = renderExpr(item.value, ctx)
  return `${text ? `CAST(${value} AS bpchar)` : value} AS ${sqlName(item.alias ?? defaultLabel(item.value))}`
}

const LABELS: Partial<Record<DataType['kind'], string>> = {
  smallint: 'int2',
  integer: 'int4',
  bigint: 'int8',
  real: 'float4',
  double: 'float8',
  boolean: 'bool',
  char: 'bpchar',
}

/** Name of an output column that has none. */
function defaultLabel(value: Expr): string {
  switch (value.kind) {
    case 'column':
      return value.path.at(-1) as string
    case 'call':
      return value.name
    case 'case':
      return value.otherwise?.kind === 'column' ? defaultLabel(value.otherwise) : 'case'
    case 'boolean':
      return 'bool'
    case 'cast': {
      const inner = defaultLabel(value.value)
      return inner === '?column?' ? (LABELS[value.type.kind] ?? value.type.kind) : inner
    }
    default:
      return '?column?'
  }
}

export function renderFrom(items: readonly FromItem[], ctx: RenderContext): string {
  return items.map((item) => renderFromItem(item, ctx)).join(', ')
}

function renderFromItem(item: FromItem, ctx: RenderContext): string {
  switch (item.kind) {
    case 'table':
      return ctx.table(item.table, item.alias)
    case 'query': {
      const columns = item.columns ? ` (${item.columns.map(sqlName).join(', ')})` : ''
      return `(${renderQuery(item.query, ctx, 'inner')}) AS ${sqlName(item.alias)}${columns}`
    }
    case 'join': {
      const join = `${renderFromItem(item.left, ctx)} ${item.type.toUpperCase()} JOIN ${renderFromItem(item.right, ctx)}`
      if (item.on) return `(${join} ON ${renderExpr(item.on, ctx)})`
      return item.using ? `(${join} USING (${item.using.map(sqlName).join(', ')}))` : `(${join})`
    }
  }
}

/** A table that is called by its name. */
export const renderTable = (ref: TableRef, alias: string | undefined): string =>
  alias === undefined ? sqlTable(ref) : `${sqlTable(ref)} AS ${sqlName(alias)}`
