import type { GrantStatement, Statement } from '../sql/ast.ts'
import { RedshiftError, UnknownToEmulator } from '../sql/errors.ts'
import { sqlName, sqlTable } from '../sql/names.ts'
import { resolveTables } from './catalog.ts'
import type { ResultSet } from './result.ts'
import { noRows, type Outcome, type StatementContext } from './statement.ts'

/** Settings that change nothing here. */
const WITHOUT_EFFECT = new Set([
  'query_group',
  'timezone',
  'datestyle',
  'extra_float_digits',
  'enable_result_cache_for_session',
  'application_name',
  'client_encoding',
])

export async function runSet(name: string, value: string, ctx: StatementContext): Promise<Outcome> {
  const { session } = ctx
  if (name === 'enable_case_sensitive_identifier') {
    if (!/^(true|on|false|off)$/.test(value)) {
      throw new RedshiftError('22023', `parameter "${name}" requires a Boolean value`)
    }
    session.settings.caseSensitive = value === 'true' || value === 'on'
  } else if (name === 'search_path') {
    const path = value.split(/,\s*/).filter((each) => each !== '$user')
    await session.backend.query(`select set_config('search_path', $1, false)`, [path.map(sqlName).join(', ')])
  } else if (name === 'statement_timeout' && /^\d+$/.test(value)) {
    await session.backend.query(`SET statement_timeout = ${value}`)
  } else if (name === 'timezone' && value.toUpperCase() !== 'UTC') {
    throw new UnknownToEmulator('a time zone of the session other than UTC')
  } else if (!WITHOUT_EFFECT.has(name)) {
    throw new UnknownToEmulator(`the setting ${name}`)
  }
  return noRows
}

export async function runShow(name: string, ctx: StatementContext): Promise<Outcome> {
  const { session } = ctx
  const { rows } = await session.backend.query(`select current_setting('search_path')`)
  const values: Record<string, string> = {
    enable_case_sensitive_identifier: session.settings.caseSensitive ? 'on' : 'off',
    search_path: rows[0]?.[0] ?? '',
    timezone: 'UTC',
    server_version: '8.0.2',
  }
  const value = values[name]
  if (value === undefined) throw new UnknownToEmulator(`the setting ${name}`)
  return { rowCount: 1, result: oneText(name, value) }
}

function oneText(name: string, value: string): ResultSet {
  const column = {
    name,
    typeName: 'varchar',
    schemaName: '',
    tableName: '',
    nullable: 1,
    precision: 0,
    scale: 0,
    length: 0,
    isSigned: false,
    isCaseSensitive: true,
  }
  return { columns: [column], rows: [[{ stringValue: value }]], bytes: Buffer.byteLength(value) }
}

/** Privileges that PostgreSQL has too. DROP and ALTER of tables are Redshift's own. */
const POSTGRES_PRIVILEGES = new Set(
  'select insert update delete references truncate create usage temporary temp'.split(' '),
)

export async function runGrant(statement: GrantStatement, ctx: StatementContext): Promise<Outcome> {
  const { kind, privileges, on, grantees } = statement
  const unknown = privileges === 'all' ? undefined : privileges.find((each) => !POSTGRES_PRIVILEGES.has(each))
  if (unknown) throw new UnknownToEmulator(`the privilege ${unknown.toUpperCase()}`)
  const list = privileges === 'all' ? 'ALL' : privileges.join(', ').toUpperCase()
  const to = grantees
    .map((grantee) => (grantee.kind === 'public' ? 'PUBLIC' : sqlName(grantee.name)))
    .join(', ')
  const sql = `${kind.toUpperCase()} ${list} ON ${await grantTarget(on, ctx)} ${kind === 'grant' ? 'TO' : 'FROM'} ${to}`
  await ctx.session.run(sql)
  return noRows
}

async function grantTarget(on: GrantStatement['on'], ctx: StatementContext): Promise<string> {
  if (on.kind === 'table') {
    await resolveTables(ctx.session.backend, on.tables)
    return `TABLE ${on.tables.map(sqlTable).join(', ')}`
  }
  const names = on.names.map(sqlName).join(', ')
  if (on.kind === 'schema') return `SCHEMA ${names}`
  if (on.kind === 'all tables') return `ALL TABLES IN SCHEMA ${names}`
  const { rows } = await ctx.session.backend.query('select current_database()')
  return `DATABASE ${sqlName(rows[0]?.[0] ?? '')}`
}

/** ANALYZE changes no result; that it names a table that is there can be checked. */
export async function runAnalyze(
  statement: Extract<Statement, { kind: 'analyze' | 'vacuum' }>,
  ctx: StatementContext,
): Promise<Outcome> {
  if (statement.table) await resolveTables(ctx.session.backend, [statement.table])
  return noRows
}

export async function runLock(
  statement: Extract<Statement, { kind: 'lock' }>,
  ctx: StatementContext,
): Promise<Outcome> {
  // No snapshot: that is why LOCK comes first in a transaction.
  for (const table of statement.tables) {
    await ctx.session.backend.query(`LOCK TABLE ${sqlTable(table)} IN ACCESS EXCLUSIVE MODE`)
  }
  return noRows
}
