import type {
  Assignment,
  CommonTable,
  DeleteStatement,
  InsertStatement,
  MergeStatement,
  Statement,
  UpdateStatement,
} from './ast.ts'
import type { Cursor } from './cursor.ts'
import { RedshiftError, UnknownToEmulator } from './errors.ts'
import { RESERVED } from './keywords.ts'
import { commaList, parseExpr } from './parse-expression.ts'
import { nameList, parseFromItem, parseQuery, parseTableRef, parseWith, startsQuery } from './parse-query.ts'

export function parseInsert(c: Cursor): InsertStatement {
  c.expect('insert', 'into')
  const table = parseTableRef(c)
  const columns = c.at('(') && !startsQuery(c) ? nameList(c) : undefined
  const start = { kind: 'insert' as const, table, ...(columns && { columns }) }
  if (c.accept('default', 'values')) return { ...start, source: { kind: 'default values' } }
  if (!c.accept('values')) {
    const parenthesised = c.at('(')
    const query = parseQuery(c)
    if (parenthesised && c.at(')')) c.fail()
    return { ...start, source: { kind: 'query', query } }
  }
  const rows = commaList(c, (at) => {
    at.expect('(')
    const row = commaList(at, parseExpr)
    at.expect(')')
    return row
  })
  const width = rows[0]?.length
  if (rows.some((row) => row.length !== width)) {
    throw new RedshiftError('42601', 'VALUES lists must all be the same length')
  }
  return { ...start, source: { kind: 'values', rows } }
}

function parseAssignments(c: Cursor): Assignment[] {
  c.expect('set')
  return commaList(c, (at) => {
    if (at.at('(')) throw new UnknownToEmulator('SET (…) = (…)')
    const column = at.name()
    // Redshift takes `SET t.c = …` no more than PostgreSQL does.
    at.expect('=')
    return { column, value: parseExpr(at) }
  })
}

export function parseUpdate(c: Cursor, withTables: readonly CommonTable[]): UpdateStatement {
  c.expect('update')
  const table = parseTableRef(c)
  const alias = c.accept('as') ? c.name() : bareAlias(c, 'set')
  const set = parseAssignments(c)
  const from = c.accept('from') ? commaList(c, parseFromItem) : []
  const where = c.accept('where') ? parseExpr(c) : undefined
  return {
    kind: 'update',
    with: withTables,
    table,
    set,
    from,
    ...(alias !== undefined && { alias }),
    ...(where && { where }),
  }
}

function bareAlias(c: Cursor, next: string): string | undefined {
  const { kind, value } = c.peek()
  const word = kind === 'word' && value !== next && value !== 'returning' && !RESERVED.has(value)
  return kind === 'quoted' || word ? c.name() : undefined
}

export function parseDelete(c: Cursor, withTables: readonly CommonTable[]): DeleteStatement {
  c.expect('delete')
  c.accept('from')
  const table = parseTableRef(c)
  // An alias is not understood here by every release.
  if (c.at('as') || bareAlias(c, 'using') !== undefined) {
    throw new UnknownToEmulator('an alias of the table in DELETE')
  }
  const using = c.accept('using') ? commaList(c, parseFromItem) : []
  const where = c.accept('where') ? parseExpr(c) : undefined
  return { kind: 'delete', with: withTables, table, using, ...(where && { where }) }
}

export function parseMerge(c: Cursor): MergeStatement {
  c.expect('merge', 'into')
  const table = parseTableRef(c)
  if (c.at('as') || !c.at('using'))
    throw new RedshiftError('42601', 'MERGE takes no alias of its target table')
  c.expect('using')
  if (c.at('(')) throw new RedshiftError('0A000', 'MERGE source must be a table: a subquery is not supported')
  const source = parseTableRef(c)
  const alias = c.accept('as') ? c.name() : bareAlias(c, 'on')
  c.expect('on')
  const on = parseExpr(c)
  if (c.at('remove', 'duplicates')) throw new UnknownToEmulator('MERGE … REMOVE DUPLICATES')
  c.expect('when', 'matched')
  if (c.at('and')) throw new RedshiftError('42601', 'MERGE takes no condition behind WHEN MATCHED')
  c.expect('then')
  const matched = parseMatched(c)
  c.expect('when', 'not', 'matched')
  if (c.at('and')) throw new RedshiftError('42601', 'MERGE takes no condition behind WHEN NOT MATCHED')
  c.expect('then', 'insert')
  const columns = c.at('(') ? nameList(c) : undefined
  c.expect('values', '(')
  const values = commaList(c, parseExpr)
  c.expect(')')
  if (c.at('when'))
    throw new RedshiftError('42601', 'MERGE takes one WHEN MATCHED and one WHEN NOT MATCHED clause')
  return {
    kind: 'merge',
    table,
    source,
    on,
    matched,
    insert: { values, ...(columns && { columns }) },
    ...(alias !== undefined && { alias }),
  }
}

function parseMatched(c: Cursor): MergeStatement['matched'] {
  if (c.accept('delete')) return { kind: 'delete' }
  c.expect('update')
  return { kind: 'update', set: parseAssignments(c) }
}

/** A statement that begins with WITH: a query, or an UPDATE or DELETE. */
export function parseWithStatement(c: Cursor): Statement {
  if (!followedBy(c, 'update') && !followedBy(c, 'delete')) return { kind: 'query', query: parseQuery(c) }
  const tables = parseWith(c)
  return c.at('update') ? parseUpdate(c, tables) : parseDelete(c, tables)
}

/** Does the first word behind the WITH list, outside of parentheses, equal `word`? */
function followedBy(c: Cursor, word: string): boolean {
  let depth = 0
  for (let ahead = 0; c.peek(ahead).kind !== 'end'; ahead++) {
    const { kind, value } = c.peek(ahead)
    if (kind === 'operator' && value === '(') depth++
    else if (kind === 'operator' && value === ')') depth--
    else if (
      depth === 0 &&
      kind === 'word' &&
      ['select', 'update', 'delete', 'insert', 'merge'].includes(value)
    ) {
      return value === word
    }
  }
  return false
}
