import type { ColumnDefinition, CreateTable, Expr, Statement, TableAttributes, TableRef } from '../sql/ast.ts'
import { RedshiftError, UnknownToEmulator } from '../sql/errors.ts'
import { displayTable, HOME, sqlName, sqlString, sqlTable } from '../sql/names.ts'
import { plainText } from '../sql/plain-text.ts'
import { type RenderContext, renderQuery, SYSTEM_COLUMNS, storageType } from '../sql/render.ts'
import type { ColumnInfo, ConstraintInfo, TableFacts } from './catalog.ts'
import { recordNames, recordTable, resolveTables } from './catalog.ts'
import { checkClause } from './columns.ts'
import { renderAssigned } from './dml.ts'
import { describeQuery } from './query.ts'
import {
  checkDatabase,
  noRows,
  type Outcome,
  renderContext,
  type StatementContext,
  userTables,
} from './statement.ts'

type NewColumn = Omit<ColumnInfo, 'attnum'> & { readonly default?: Expr }

/** DDL of one column for PostgreSQL: its storage, and checks for what Redshift is stricter in. */
export function renderColumn(column: NewColumn, ctx: RenderContext): string {
  const value = column.default && renderAssigned(column.default, { ...column, attnum: 0 }, ctx)
  return [
    sqlName(column.name),
    storageType(column.type),
    column.identity ?? '',
    value === undefined ? '' : `DEFAULT ${value}`,
    column.notNull ? 'NOT NULL' : '',
    checkClause(column.name, column.type),
  ]
    .filter(Boolean)
    .join(' ')
}

const NO_SORT_OR_DIST = new Set(['super', 'varbyte'])

function checkColumns(columns: readonly NewColumn[]) {
  if (columns.length > 1600) throw new RedshiftError('54011', 'tables can have at most 1600 columns')
  const seen = new Set<string>()
  for (const { name, type, distkey, sortkey } of columns) {
    if (seen.has(name)) throw new RedshiftError('42701', `column "${name}" specified more than once`)
    seen.add(name)
    if (SYSTEM_COLUMNS.has(name)) {
      throw new RedshiftError('42701', `column name "${name}" conflicts with a system column name`)
    }
    if ((distkey || sortkey > 0) && NO_SORT_OR_DIST.has(type.kind)) {
      const key = distkey ? 'distribution' : 'sort'
      throw new RedshiftError('0A000', `column "${name}" of type ${type.kind} cannot be a ${key} key`)
    }
  }
}

function toNewColumn(definition: ColumnDefinition, keys: Keys): NewColumn {
  const { name, type, encode, identity } = definition
  if (identity && type.kind !== 'integer' && type.kind !== 'bigint') {
    throw new RedshiftError('0A000', `identity column "${name}" must be of type INT or BIGINT`)
  }
  return {
    name,
    type,
    notNull: definition.notNull || keys.primary.includes(name) || identity !== undefined,
    defaultSql: definition.default ? plainText(definition.default, type) : identityText(identity),
    encode: encode ?? null,
    distkey: keys.distkey === name,
    sortkey: keys.sort.indexOf(name) + 1,
    identity: identity
      ? `GENERATED ${identity.byDefault ? 'BY DEFAULT' : 'ALWAYS'} AS IDENTITY (START ${identity.seed} INCREMENT ${identity.step})`
      : null,
    ...(definition.default && { default: definition.default }),
  }
}

/** An identity column as the system views show it. */
function identityText(identity: ColumnDefinition['identity']): string | null {
  if (!identity) return null
  const { byDefault, seed, step } = identity
  return `"${byDefault ? 'default_identity' : 'identity'}"(0, 0, '${seed},${step}'::text)`
}

interface Keys {
  readonly primary: readonly string[]
  readonly distkey: string | undefined
  readonly sort: readonly string[]
}

/** Puts together what may be said at a column or behind the table. */
function keysOf(
  columns: readonly ColumnDefinition[],
  constraints: CreateTable['constraints'],
  attributes: TableAttributes,
): Keys {
  const one = (names: readonly string[], what: string) => {
    if (names.length > 1) throw new RedshiftError('42P16', `multiple ${what} for table are not allowed`)
    return names[0]
  }
  const named = (flag: 'distkey' | 'sortkey' | 'primaryKey') =>
    columns.filter((column) => column[flag]).map(({ name }) => name)
  const distkey = one(
    [...named('distkey'), ...(attributes.distkey === undefined ? [] : [attributes.distkey])],
    'distkeys',
  )
  const sort = attributes.sortkey?.columns ?? named('sortkey')
  const primaries = [
    ...named('primaryKey').map((name) => [name]),
    ...constraints.filter(({ kind }) => kind === 'primary key').map((each) => each.columns),
  ]
  if (primaries.length > 1)
    throw new RedshiftError('42P16', 'multiple primary keys for table are not allowed')
  const primary = primaries[0] ?? []
  if (sort.length > 400) throw new RedshiftError('54011', 'a sort key can have at most 400 columns')
  for (const name of [
    ...sort,
    ...primary,
    ...(distkey === undefined ? [] : [distkey]),
    ...constraints.flatMap((each) => each.columns),
  ]) {
    if (!columns.some((column) => column.name === name))
      throw new RedshiftError('42703', `column "${name}" named in key does not exist`)
  }
  if (attributes.diststyle === 'key' && distkey === undefined) {
    throw new RedshiftError('42P16', 'DISTSTYLE KEY requires a DISTKEY')
  }
  if (distkey !== undefined && attributes.diststyle && attributes.diststyle !== 'key') {
    throw new RedshiftError(
      '42P16',
      `DISTKEY is not allowed with DISTSTYLE ${attributes.diststyle.toUpperCase()}`,
    )
  }
  return { primary, distkey, sort }
}

function constraintsOf(statement: CreateTable): ConstraintInfo[] {
  const { table, columns, constraints } = statement
  const named = columns.flatMap((column): ConstraintInfo[] => [
    ...(column.primaryKey ? [{ name: '', kind: 'primary key' as const, columns: [column.name] }] : []),
    ...(column.unique ? [{ name: '', kind: 'unique' as const, columns: [column.name] }] : []),
  ])
  const listed = constraints.map(({ name, kind, columns: on }) => ({ name: name ?? '', kind, columns: on }))
  const suffix = { 'primary key': 'pkey', unique: 'key', 'foreign key': 'fkey' }
  return [...named, ...listed].map((each) => ({
    ...each,
    name:
      each.name ||
      [table.name, ...(each.kind === 'primary key' ? [] : each.columns), suffix[each.kind]].join('_'),
  }))
}

export async function runCreateTable(statement: CreateTable, ctx: StatementContext): Promise<Outcome> {
  const { table, attributes } = statement
  checkDatabase(table, ctx.session.database)
  if (statement.temporary && table.schema !== undefined) {
    throw new RedshiftError('42P16', 'cannot create temporary relation in non-temporary schema')
  }
  if (await existsAlready(table, statement, ctx)) return noRows
  const parent = statement.like && (await inherit(statement.like, attributes, ctx))
  const keys = keysOf(statement.columns, statement.constraints, attributes)
  const own = statement.columns.map((column) => toNewColumn(column, keys))
  const columns = [...(parent?.columns ?? []), ...own]
  const facts = parent?.facts ?? factsOf(statement.temporary, attributes, own)
  await createTable(
    table,
    { ...facts, temporary: statement.temporary },
    columns,
    constraintsOf(statement),
    ctx,
  )
  return noRows
}

async function existsAlready(
  table: TableRef,
  { ifNotExists, temporary }: { ifNotExists: boolean; temporary: boolean },
  ctx: StatementContext,
) {
  if (!ifNotExists) return false
  const name = temporary ? `pg_temp.${sqlName(table.name)}` : sqlTable(table)
  const { rows } = await ctx.session.backend.query('select to_regclass($1)', [name])
  return rows[0]?.[0] != null
}

function factsOf(temporary: boolean, attributes: TableAttributes, columns: readonly NewColumn[]): TableFacts {
  return {
    temporary,
    diststyle: attributes.diststyle ?? (columns.some(({ distkey }) => distkey) ? 'key' : 'auto'),
    sortkeyStyle:
      attributes.sortkey?.style ?? (columns.some(({ sortkey }) => sortkey > 0) ? 'compound' : 'auto'),
    backup: attributes.backup ?? true,
    encodeAuto: attributes.encodeAuto || columns.every(({ encode }) => encode === null),
  }
}

/** What `LIKE parent` takes over: columns, NOT NULL, distribution and sort keys; neither keys nor, by default, defaults. */
async function inherit(
  like: NonNullable<CreateTable['like']>,
  attributes: TableAttributes,
  ctx: StatementContext,
) {
  if (
    attributes.diststyle ||
    attributes.distkey !== undefined ||
    attributes.sortkey ||
    attributes.backup !== undefined
  ) {
    throw new RedshiftError(
      '0A000',
      'CREATE TABLE LIKE takes DISTSTYLE, DISTKEY, SORTKEY and BACKUP from the parent table',
    )
  }
  if (like.defaults) throw new UnknownToEmulator('INCLUDING DEFAULTS')
  const [parent] = await resolve([like.table], ctx)
  if (!parent || parent.kind === 'view')
    throw new RedshiftError('42809', `"${like.table.name}" is not a table`)
  const { rows } = await ctx.session.backend.query(
    `select diststyle, sortkey_style, backup, encode_auto from ${HOME}.relations where oid = $1`,
    [parent.oid],
  )
  const [diststyle, sortkeyStyle, backup, encodeAuto] = rows[0] as string[]
  const facts: TableFacts = {
    temporary: false,
    diststyle: diststyle ?? 'auto',
    sortkeyStyle: sortkeyStyle ?? 'auto',
    backup: backup === 't',
    encodeAuto: encodeAuto === 't',
  }
  const columns = parent.columns.map((column): NewColumn => ({ ...column, defaultSql: null, identity: null }))
  return { facts, columns }
}

async function resolve(refs: readonly TableRef[], ctx: StatementContext) {
  for (const ref of refs) checkDatabase(ref, ctx.session.database)
  return [...(await ctx.session.prepare({ reads: refs, writes: [] })).values()]
}

async function createTable(
  table: TableRef,
  facts: TableFacts,
  columns: readonly NewColumn[],
  constraints: readonly ConstraintInfo[],
  ctx: StatementContext,
) {
  checkColumns(columns)
  if (columns.length === 0) throw new RedshiftError('42P16', 'a table must have at least one column')
  await ctx.session.prepare({ reads: [], writes: [] })
  const render = renderContext(ctx)
  const list = columns.map((column) => renderColumn(column, render)).join(', ')
  await ctx.session.run(`CREATE ${facts.temporary ? 'TEMPORARY ' : ''}TABLE ${sqlTable(table)} (${list})`)
  // A temporary table hides others of its name, so the name alone finds it.
  await recordTable(ctx.session.backend, table, facts, columns, constraints)
}

export async function runCreateTableAs(
  statement: Extract<Statement, { kind: 'create table as' }>,
  ctx: StatementContext,
): Promise<Outcome> {
  const { table, temporary, attributes, query } = statement
  checkDatabase(table, ctx.session.database)
  await ctx.session.prepare({ reads: userTables(query, ctx), writes: [] })
  const keysFor = (names: readonly string[]) => ({
    distkey: attributes.distkey,
    sort: attributes.sortkey?.columns ?? [],
    known: names,
  })
  const described = await describeQuery(query, ctx)
  const keys = keysFor(described.map(({ name }) => name))
  for (const name of [...keys.sort, ...(keys.distkey === undefined ? [] : [keys.distkey])]) {
    if (!keys.known.includes(name))
      throw new RedshiftError('42703', `column "${name}" named in key does not exist`)
  }
  const columns = described.map(
    ({ name, type }): NewColumn => ({
      name,
      type,
      notNull: false,
      defaultSql: null,
      encode: null,
      distkey: keys.distkey === name,
      sortkey: keys.sort.indexOf(name) + 1,
      identity: null,
    }),
  )
  await createTable(table, factsOf(temporary, attributes, columns), columns, [], ctx)
  const { rowCount } = await ctx.session.run(
    `INSERT INTO ${sqlTable(table)} ${renderQuery(query, renderContext(ctx))}`,
  )
  return { rowCount }
}

export async function runCreateView(
  statement: Extract<Statement, { kind: 'create view' }>,
  ctx: StatementContext,
): Promise<Outcome> {
  const { view, replace, query } = statement
  checkDatabase(view, ctx.session.database)
  await ctx.session.prepare({ reads: userTables(query, ctx), writes: [] })
  const described = await describeQuery(query, ctx)
  const names = statement.columns ?? described.map(({ name }) => name)
  const sql = `${replace ? 'CREATE OR REPLACE' : 'CREATE'} VIEW ${sqlTable(view)} (${names.map(sqlName).join(', ')}) AS ${renderQuery(query, renderContext(ctx))}`
  await ctx.session.run(sql)
  if (replace) {
    for (const table of ['relations', 'columns']) {
      const column = table === 'relations' ? 'oid' : 'relation'
      await ctx.session.backend.query(`delete from ${HOME}.${table} where ${column} = $1::regclass`, [
        sqlTable(view),
      ])
    }
  }
  const facts: TableFacts = {
    temporary: false,
    diststyle: 'auto',
    sortkeyStyle: 'auto',
    backup: true,
    encodeAuto: true,
  }
  const columns = described.map(({ type }, index) => ({
    name: names[index] ?? '',
    type,
    notNull: false,
    defaultSql: null,
    encode: null,
    distkey: false,
    sortkey: 0,
    identity: null,
  }))
  await recordTable(ctx.session.backend, view, facts, columns, [])
  return noRows
}

export async function runDropTables(
  statement: Extract<Statement, { kind: 'drop table' | 'drop view' }>,
  ctx: StatementContext,
): Promise<Outcome> {
  const { kind, tables, ifExists, cascade } = statement
  const what = kind === 'drop table' ? 'TABLE' : 'VIEW'
  for (const table of tables) {
    checkDatabase(table, ctx.session.database)
    const { rows } = await ctx.session.backend.query('select to_regclass($1)', [sqlTable(table)])
    if (rows[0]?.[0] == null) {
      if (ifExists) continue
      const noun = kind === 'drop table' ? 'table' : 'view'
      throw new RedshiftError('42P01', `${noun} "${displayTable(table)}" does not exist`)
    }
    const lock = kind === 'drop table' ? [{ table, lock: 'exclusive' as const }] : []
    await ctx.session.prepare({ reads: [], writes: lock })
    await ctx.session.run(`DROP ${what} ${sqlTable(table)}${cascade ? ' CASCADE' : ''}`)
  }
  return noRows
}

export async function runSchema(
  statement: Extract<Statement, { kind: 'create schema' | 'drop schema' }>,
  ctx: StatementContext,
): Promise<Outcome> {
  const { backend } = ctx.session
  if (statement.kind === 'create schema') {
    const { name, ifNotExists, owner } = statement
    if (name.startsWith('pg_') || name === HOME) {
      throw new RedshiftError(
        '42939',
        `unacceptable schema name "${name}"`,
        'Detail: The prefix "pg_" is reserved for system schemas.',
      )
    }
    const authorization = owner === undefined ? '' : ` AUTHORIZATION ${sqlName(owner)}`
    await ctx.session.run(
      `CREATE SCHEMA ${ifNotExists ? 'IF NOT EXISTS ' : ''}${sqlName(name)}${authorization}`,
    )
    await recordNames(backend, [name])
    return noRows
  }
  for (const name of statement.names) {
    if (name === HOME) throw new RedshiftError('3F000', `schema "${name}" does not exist`)
    await ctx.session.run(
      `DROP SCHEMA ${statement.ifExists ? 'IF EXISTS ' : ''}${sqlName(name)}${statement.cascade ? ' CASCADE' : ''}`,
    )
  }
  return noRows
}

export async function runComment(
  statement: Extract<Statement, { kind: 'comment' }>,
  ctx: StatementContext,
): Promise<Outcome> {
  const { on, text } = statement
  const value = text === null ? 'NULL' : sqlString(text)
  if (on.kind === 'schema') {
    await ctx.session.run(`COMMENT ON SCHEMA ${sqlName(on.name)} IS ${value}`)
    return noRows
  }
  await resolveTables(ctx.session.backend, [on.table])
  const target = on.kind === 'column' ? `${sqlTable(on.table)}.${sqlName(on.column)}` : sqlTable(on.table)
  await ctx.session.run(`COMMENT ON ${on.kind.toUpperCase()} ${target} IS ${value}`)
  return noRows
}
