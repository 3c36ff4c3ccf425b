import type {
  AlterAction,
  ColumnDefinition,
  CreateTable,
  Expr,
  Statement,
  TableAttributes,
  TableConstraint,
  TableRef,
} from './ast.ts'
import type { Cursor } from './cursor.ts'
import { RedshiftError, UnknownToEmulator } from './errors.ts'
import { commaList, parseExpr } from './parse-expression.ts'
import { nameList, parseQuery, parseTableRef } from './parse-query.ts'
import { parseType } from './types.ts'

const ENCODINGS = new Set(
  'az64 bytedict delta delta32k lzo mostly8 mostly16 mostly32 raw runlength text255 text32k zstd auto'.split(
    ' ',
  ),
)

/** CREATE SCHEMA, TABLE and VIEW. */
export function parseCreate(c: Cursor): Statement {
  c.expect('create')
  if (c.accept('schema')) return parseCreateSchema(c)
  const replace = c.accept('or', 'replace')
  if (c.accept('view')) return parseCreateView(c, replace)
  if (replace) throw new UnknownToEmulator('CREATE OR REPLACE of this kind')
  c.accept('local')
  const temporary = c.accept('temporary') || c.accept('temp')
  if (c.accept('table')) return parseCreateTable(c, temporary)
  throw new UnknownToEmulator(`CREATE ${c.peek().text.toUpperCase()}`)
}

function parseCreateSchema(c: Cursor): Statement {
  const ifNotExists = c.accept('if', 'not', 'exists')
  const name = c.name()
  const owner = c.accept('authorization') ? c.name() : undefined
  if (c.at('quota')) throw new UnknownToEmulator('QUOTA of a schema')
  return { kind: 'create schema', name, ifNotExists, ...(owner !== undefined && { owner }) }
}

function parseCreateView(c: Cursor, replace: boolean): Statement {
  const view = parseTableRef(c)
  const columns = c.at('(') ? nameList(c) : undefined
  c.expect('as')
  const query = parseQuery(c)
  if (c.at('with')) throw new UnknownToEmulator('views WITH NO SCHEMA BINDING')
  return { kind: 'create view', view, replace, query, ...(columns && { columns }) }
}

function parseCreateTable(c: Cursor, temporary: boolean): Statement {
  const ifNotExists = c.accept('if', 'not', 'exists')
  const table = parseTableRef(c)
  if (!c.at('(')) return parseCreateTableAs(c, table, temporary, ifNotExists)
  const columns: ColumnDefinition[] = []
  const constraints: TableConstraint[] = []
  let like: CreateTable['like']
  c.expect('(')
  do {
    if (c.accept('like')) {
      if (like) throw new UnknownToEmulator('CREATE TABLE with two LIKE')
      const parent = parseTableRef(c)
      const defaults = c.accept('including', 'defaults')
      if (!defaults) c.accept('excluding', 'defaults')
      like = { table: parent, defaults }
    } else {
      const constraint = parseConstraint(c)
      if (constraint) constraints.push(constraint)
      else columns.push(parseColumn(c))
    }
  } while (c.accept(','))
  c.expect(')')
  const attributes = parseAttributes(c)
  return {
    kind: 'create table',
    table,
    temporary,
    ifNotExists,
    columns,
    constraints,
    attributes,
    ...(like && { like }),
  }
}

function parseCreateTableAs(c: Cursor, table: TableRef, temporary: boolean, ifNotExists: boolean): Statement {
  if (ifNotExists) c.fail()
  const attributes = parseAttributes(c)
  c.expect('as')
  return { kind: 'create table as', table, temporary, attributes, query: parseQuery(c) }
}

function parseEncoding(c: Cursor): string {
  const token = c.next()
  return ENCODINGS.has(token.value) ? token.value : c.fail(token)
}

/** One column with its attributes and constraints, which may stand in any order. */
function parseColumn(c: Cursor): ColumnDefinition {
  const name = c.name()
  const type = parseType(c)
  const column: { -readonly [K in keyof ColumnDefinition]: ColumnDefinition[K] } = {
    name,
    type,
    notNull: false,
    distkey: false,
    sortkey: false,
    primaryKey: false,
    unique: false,
  }
  for (;;) {
    if (c.accept('not', 'null')) column.notNull = true
    else if (c.accept('null')) column.notNull = false
    else if (c.accept('default')) column.default = parseDefault(c)
    else if (c.accept('encode')) column.encode = parseEncoding(c)
    else if (c.accept('distkey')) column.distkey = true
    else if (c.accept('sortkey')) column.sortkey = true
    else if (c.accept('primary', 'key')) column.primaryKey = true
    else if (c.accept('unique')) column.unique = true
    else if (c.accept('identity')) column.identity = parseIdentity(c, false)
    else if (c.accept('generated', 'by', 'default', 'as', 'identity'))
      column.identity = parseIdentity(c, true)
    else if (c.at('references') || c.at('collate')) throw new UnknownToEmulator(c.peek().text.toUpperCase())
    else return column
  }
}

function parseDefault(c: Cursor): Expr {
  const value = parseExpr(c)
  if (containsColumn(value))
    throw new RedshiftError('0A000', 'cannot use column references in default expression')
  return value
}

function containsColumn(value: Expr): boolean {
  if (value.kind === 'column' || value.kind === 'subquery' || value.kind === 'exists') return true
  return Object.values(value).some((part) =>
    Array.isArray(part)
      ? part.some((each) => isExpr(each) && containsColumn(each))
      : isExpr(part) && containsColumn(part),
  )
}

const isExpr = (part: unknown): part is Expr => typeof part === 'object' && part !== null && 'kind' in part

function parseIdentity(c: Cursor, byDefault: boolean) {
  c.expect('(')
  const seed = c.integer()
  c.expect(',')
  const step = c.integer()
  c.expect(')')
  return { byDefault, seed, step }
}

/** A constraint of the table; undefined when a column stands here. */
function parseConstraint(c: Cursor): TableConstraint | undefined {
  const name = c.accept('constraint') ? c.name() : undefined
  const named = name === undefined ? {} : { name }
  if (c.accept('primary', 'key')) return { ...named, kind: 'primary key', columns: nameList(c) }
  if (c.at('unique', '(') && c.accept('unique')) return { ...named, kind: 'unique', columns: nameList(c) }
  if (c.accept('foreign', 'key')) {
    const columns = nameList(c)
    c.expect('references')
    const references = parseTableRef(c)
    if (c.at('(')) nameList(c)
    return { ...named, kind: 'foreign key', columns, references }
  }
  if (c.at('check')) throw new RedshiftError('0A000', 'CHECK constraints are not supported')
  return name === undefined ? undefined : c.fail()
}

const DISTSTYLES = ['auto', 'even', 'key', 'all'] as const

/** BACKUP, DISTSTYLE, DISTKEY, SORTKEY and ENCODE AUTO behind a table. */
function parseAttributes(c: Cursor): TableAttributes {
  const attributes: { -readonly [K in keyof TableAttributes]: TableAttributes[K] } = { encodeAuto: false }
  for (;;) {
    if (c.accept('backup')) attributes.backup = c.accept('yes') || !(c.accept('no') || c.fail())
    else if (c.accept('diststyle')) {
      attributes.diststyle = DISTSTYLES.find((style) => c.accept(style)) ?? c.fail()
    } else if (c.at('distkey')) {
      c.next()
      attributes.distkey = oneName(c)
    } else if (c.accept('sortkey', 'auto')) attributes.sortkey = { style: 'auto', columns: [] }
    else if (c.accept('sortkey') || c.accept('compound', 'sortkey')) {
      attributes.sortkey = { style: 'compound', columns: nameList(c) }
    } else if (c.accept('interleaved', 'sortkey')) {
      attributes.sortkey = { style: 'interleaved', columns: nameList(c) }
    } else if (c.accept('encode', 'auto')) attributes.encodeAuto = true
    else return attributes
  }
}

function oneName(c: Cursor): string {
  const names = nameList(c)
  return names.length === 1 ? (names[0] as string) : c.fail()
}

/** ALTER TABLE with its one action. */
export function parseAlter(c: Cursor): Statement {
  c.expect('alter')
  if (!c.accept('table')) throw new UnknownToEmulator(`ALTER ${c.peek().text.toUpperCase()}`)
  const table = parseTableRef(c)
  const action = parseAction(c)
  if (c.at(',') && action.kind !== 'alter encode') {
    throw new RedshiftError('0A000', 'ALTER TABLE takes one action a statement')
  }
  return { kind: 'alter table', table, action }
}

function parseAction(c: Cursor): AlterAction {
  if (c.accept('add')) return parseAdd(c)
  if (c.accept('drop')) return parseDropAction(c)
  if (c.accept('rename', 'to')) return { kind: 'rename to', name: c.name() }
  if (c.accept('rename')) {
    c.accept('column')
    const column = c.name()
    c.expect('to')
    return { kind: 'rename column', column, name: c.name() }
  }
  if (c.accept('owner', 'to')) return { kind: 'owner to', owner: c.name() }
  if (c.accept('alter')) return parseAlterAction(c)
  if (c.at('append')) throw new UnknownToEmulator('ALTER TABLE APPEND')
  return c.fail()
}

function parseAdd(c: Cursor): AlterAction {
  const constraint = c.at('column') ? undefined : parseConstraint(c)
  if (constraint) return { kind: 'add constraint', constraint }
  c.accept('column')
  // ADD COLUMN IF NOT EXISTS is PostgreSQL's.
  if (c.at('if', 'not')) c.fail()
  const column = parseColumn(c)
  if (column.identity) throw new RedshiftError('0A000', 'cannot add an identity column to a table')
  if (column.distkey || column.sortkey || column.primaryKey || column.unique) {
    throw new RedshiftError(
      '0A000',
      'a column that is added cannot be a distribution key, a sort key or have a key constraint',
    )
  }
  return { kind: 'add column', column }
}

function parseDropAction(c: Cursor): AlterAction {
  if (c.accept('constraint')) {
    const name = c.name()
    if (!c.accept('restrict')) c.accept('cascade')
    return { kind: 'drop constraint', name }
  }
  c.accept('column')
  if (c.at('if', 'exists')) c.fail()
  const column = c.name()
  const cascade = c.accept('cascade')
  if (!cascade) c.accept('restrict')
  return { kind: 'drop column', column, cascade }
}

function parseAlterAction(c: Cursor): AlterAction {
  if (c.at('distkey') || c.at('diststyle') || c.at('sortkey') || c.at('compound') || c.at('encode')) {
    throw new UnknownToEmulator(`ALTER TABLE … ALTER ${c.peek().text.toUpperCase()}`)
  }
  c.accept('column')
  const column = c.name()
  if (c.accept('type')) return { kind: 'alter type', column, type: parseType(c) }
  if (!c.accept('encode')) {
    // SET NOT NULL, DROP NOT NULL, SET DEFAULT: PostgreSQL's.
    c.fail()
  }
  const columns = [{ column, encode: parseEncoding(c) }]
  while (c.accept(',')) {
    c.expect('alter')
    c.accept('column')
    const next = c.name()
    c.expect('encode')
    columns.push({ column: next, encode: parseEncoding(c) })
  }
  return { kind: 'alter encode', columns }
}

/** DROP TABLE, VIEW and SCHEMA. */
export function parseDrop(c: Cursor): Statement {
  c.expect('drop')
  const what = (['table', 'view', 'schema'] as const).find((word) => c.accept(word))
  if (!what) throw new UnknownToEmulator(`DROP ${c.peek().text.toUpperCase()}`)
  const ifExists = c.accept('if', 'exists')
  const names = what === 'schema' ? commaList(c, (at) => at.name()) : []
  const tables = what === 'schema' ? [] : commaList(c, parseTableRef)
  const cascade = c.accept('cascade')
  if (!cascade) c.accept('restrict')
  return what === 'schema'
    ? { kind: 'drop schema', names, ifExists, cascade }
    : { kind: what === 'table' ? 'drop table' : 'drop view', tables, ifExists, cascade }
}
