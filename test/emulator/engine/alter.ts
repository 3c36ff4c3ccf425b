import type { AlterAction, ColumnDefinition, DataType, Statement } from '../sql/ast.ts'
import { RedshiftError, UnknownToEmulator } from '../sql/errors.ts'
import { HOME, sqlName, sqlTable } from '../sql/names.ts'
import { plainText } from '../sql/plain-text.ts'
import { sameType } from '../sql/types.ts'
import {
  type ColumnInfo,
  readConstraints,
  recordColumn,
  recordConstraint,
  recordNames,
  type TableInfo,
} from './catalog.ts'
import { checkClause, checkName } from './columns.ts'
import { renderColumn } from './ddl.ts'
import { checkDatabase, noRows, type Outcome, renderContext, type StatementContext } from './statement.ts'

type AlterTable = Extract<Statement, { kind: 'alter table' }>

export async function runAlterTable(statement: AlterTable, ctx: StatementContext): Promise<Outcome> {
  const { table, action } = statement
  checkDatabase(table, ctx.session.database)
  const tables = await ctx.session.prepare({ reads: [], writes: [{ table, lock: 'exclusive' }] })
  const target = tables.get(table) as TableInfo
  if (target.kind === 'view' && action.kind !== 'rename to' && action.kind !== 'owner to') {
    throw new RedshiftError('42809', `"${table.name}" is not a table`)
  }
  await alter(target, action, ctx)
  return noRows
}

async function alter(target: TableInfo, action: AlterAction, ctx: StatementContext) {
  const { session } = ctx
  const table = sqlTable(target.ref)
  const update = (sql: string, values: readonly unknown[]) =>
    session.backend.query(sql, [target.oid, ...values])
  switch (action.kind) {
    case 'add column':
      return addColumn(target, action.column, ctx)
    case 'drop column':
      return dropColumn(target, action.column, action.cascade, ctx)
    case 'alter type':
      return alterType(target, action.column, action.type, ctx)
    case 'alter encode':
      return alterEncode(target, action.columns, ctx)
    case 'rename to':
      await session.run(`ALTER TABLE ${table} RENAME TO ${sqlName(action.name)}`)
      await recordNames(session.backend, [action.name])
      await update(`update ${HOME}.relations set name = $2 where oid = $1`, [action.name])
      return
    case 'rename column':
      columnOf(target, action.column)
      await session.run(
        `ALTER TABLE ${table} RENAME COLUMN ${sqlName(action.column)} TO ${sqlName(action.name)}`,
      )
      await recordNames(session.backend, [action.name])
      await update(`update ${HOME}.columns set name = $3 where relation = $1 and name = $2`, [
        action.column,
        action.name,
      ])
      await update(
        `update ${HOME}.constraints set columns = array_replace(columns, $2, $3) where relation = $1`,
        [action.column, action.name],
      )
      return
    case 'add constraint': {
      const { kind, columns, name } = action.constraint
      for (const column of columns) {
        if (kind === 'primary key' && !columnOf(target, column).notNull) {
          throw new RedshiftError('0A000', `cannot add a primary key to the nullable column "${column}"`)
        }
      }
      const suffix = { 'primary key': 'pkey', unique: 'key', 'foreign key': 'fkey' }[kind]
      await recordConstraint(session.backend, target.oid, {
        kind,
        columns,
        name: name ?? `${target.ref.name}_${suffix}`,
      })
      return
    }
    case 'drop constraint': {
      const { rowCount } = await update(`delete from ${HOME}.constraints where relation = $1 and name = $2`, [
        action.name,
      ])
      if (rowCount === 0) throw new RedshiftError('42704', `constraint "${action.name}" does not exist`)
      return
    }
    case 'owner to':
      await session.run(`ALTER TABLE ${table} OWNER TO ${sqlName(action.owner)}`)
      return
    case 'alter attributes':
      throw new UnknownToEmulator('ALTER TABLE of these attributes')
  }
}

function columnOf(target: TableInfo, name: string): ColumnInfo {
  const column = target.columns.find((each) => each.name === name)
  if (column) return column
  throw new RedshiftError('42703', `column "${name}" of relation "${target.ref.name}" does not exist`)
}

async function addColumn(target: TableInfo, definition: ColumnDefinition, ctx: StatementContext) {
  const { session } = ctx
  const { name, type, notNull, encode } = definition
  const value = definition.default
  if (target.columns.some((column) => column.name === name)) {
    throw new RedshiftError('42701', `column "${name}" of relation "${target.ref.name}" already exists`)
  }
  if (notNull && (!value || value.kind === 'null')) {
    throw new RedshiftError(
      '0A000',
      'ALTER TABLE ADD COLUMN defined as NOT NULL must have a non-null default expression',
    )
  }
  const column = {
    name,
    type,
    notNull,
    defaultSql: value ? plainText(value, type) : null,
    encode: encode ?? null,
    distkey: false,
    sortkey: 0,
    identity: null,
  }
  const sql = renderColumn({ ...column, ...(value && { default: value }) }, renderContext(ctx))
  await session.run(`ALTER TABLE ${sqlTable(target.ref)} ADD COLUMN ${sql}`)
  const { rows } = await session.backend.query('select max(attnum) from pg_attribute where attrelid = $1', [
    target.oid,
  ])
  await recordNames(session.backend, [name])
  await recordColumn(session.backend, target.oid, { ...column, attnum: Number(rows[0]?.[0]) })
}

async function dropColumn(target: TableInfo, name: string, cascade: boolean, ctx: StatementContext) {
  const column = columnOf(target, name)
  if (column.distkey) throw new RedshiftError('0A000', `cannot drop distkey column "${name}"`)
  if (column.sortkey > 0) throw new RedshiftError('0A000', `cannot drop sortkey column "${name}"`)
  if (target.columns.length === 1) throw new RedshiftError('0A000', 'cannot drop the only column of a table')
  const { session } = ctx
  await session.run(
    `ALTER TABLE ${sqlTable(target.ref)} DROP COLUMN ${sqlName(name)}${cascade ? ' CASCADE' : ''}`,
  )
  await session.backend.query(`delete from ${HOME}.columns where relation = $1 and name = $2`, [
    target.oid,
    name,
  ])
  await session.backend.query(`delete from ${HOME}.constraints where relation = $1 and $2 = any(columns)`, [
    target.oid,
    name,
  ])
}

const FIXED_ENCODINGS = new Set(['bytedict', 'runlength', 'text255', 'text32k'])

/** Only the length of a VARCHAR can change, and not that of every one. */
async function alterType(target: TableInfo, name: string, type: DataType, ctx: StatementContext) {
  const column = columnOf(target, name)
  const refuse = (why: string): never => {
    throw new RedshiftError(
      '0A000',
      `cannot alter type of column "${name}" of relation "${target.ref.name}": ${why}`,
    )
  }
  if (column.type.kind !== 'varchar' || type.kind !== 'varchar')
    refuse('only the size of a VARCHAR column can be changed')
  if (sameType(column.type, type)) throw new RedshiftError('0A000', 'target column size should be different')
  if (column.defaultSql !== null) refuse('the column has a default value')
  if (FIXED_ENCODINGS.has(column.encode ?? '')) refuse(`its encoding is ${column.encode?.toUpperCase()}`)
  const keys = await readConstraints(ctx.session.backend, target.oid)
  if (keys.some(({ columns }) => columns.includes(name)))
    refuse('it is part of a primary, unique or foreign key')
  const { session } = ctx
  const views = await session.backend.query(
    `select 1 from pg_depend where refobjid = $1 and refobjsubid = $2 and classid = 'pg_rewrite'::regclass limit 1`,
    [target.oid, column.attnum],
  )
  if (views.rows.length > 0) throw new UnknownToEmulator('ALTER COLUMN TYPE of a column that a view uses')
  const longest = await session.run(`SELECT max(octet_length(${sqlName(name)})) FROM ${sqlTable(target.ref)}`)
  if (Number(longest.rows[0]?.[0] ?? 0) > (type.length ?? 0)) refuse('it holds longer values')
  await session.run(
    `ALTER TABLE ${sqlTable(target.ref)} DROP CONSTRAINT "${checkName(name, column.type)}", ADD ${checkClause(name, type)}`,
  )
  await session.backend.query(`update ${HOME}.columns set length = $3 where relation = $1 and name = $2`, [
    target.oid,
    name,
    type.length,
  ])
}

async function alterEncode(
  target: TableInfo,
  changes: readonly { readonly column: string; readonly encode: string }[],
  ctx: StatementContext,
) {
  const { backend } = ctx.session
  for (const { column, encode } of changes) {
    if (columnOf(target, column).encode === encode) {
      throw new RedshiftError('0A000', `column "${column}" has the encoding ${encode.toUpperCase()} already`)
    }
    await backend.query(`update ${HOME}.columns set encode = $3 where relation = $1 and name = $2`, [
      target.oid,
      column,
      encode,
    ])
  }
  await backend.query(`update ${HOME}.relations set encode_auto = false where oid = $1`, [target.oid])
}
