import type { CommonTable, FromItem, Query, QueryBody, SelectCore, SelectItem, TableRef } from './ast.ts'
import type { Cursor } from './cursor.ts'
import { RedshiftError, UnknownToEmulator } from './errors.ts'
import { RESERVED } from './keywords.ts'
import { commaList, parseExpr, parseOrderItem } from './parse-expression.ts'

/** True when a query stands here, or one in parentheses. */
export function startsQuery(c: Cursor): boolean {
  let ahead = 0
  while (c.peek(ahead).kind === 'operator' && c.peek(ahead).value === '(') ahead++
  const { kind, value } = c.peek(ahead)
  return kind === 'word' && (value === 'select' || value === 'with')
}

/** Parses SELECT with its WITH before and its ORDER BY and LIMIT after it. */
export function parseQuery(c: Cursor): Query {
  const withTables = parseWith(c)
  const { body, limit: top } = parseSetOperations(c)
  const orderBy = c.accept('order', 'by') ? commaList(c, parseOrderItem) : []
  let limit = top
  let offset: Query['offset']
  for (;;) {
    if (c.accept('limit')) limit = c.accept('all') ? undefined : parseExpr(c)
    else if (c.accept('offset')) offset = parseExpr(c)
    else break
  }
  if (c.at('for')) throw new RedshiftError('0A000', 'SELECT FOR UPDATE/SHARE is not supported')
  return { with: withTables, body, orderBy, ...(limit && { limit }), ...(offset && { offset }) }
}

export function parseWith(c: Cursor): CommonTable[] {
  if (!c.accept('with')) return []
  if (c.at('recursive')) throw new UnknownToEmulator('WITH RECURSIVE')
  return commaList(c, (at) => {
    const name = at.name()
    const columns = at.at('(') ? nameList(at) : undefined
    at.expect('as', '(')
    const query = parseQuery(at)
    at.expect(')')
    return { name, query, ...(columns && { columns }) }
  })
}

/** Names in parentheses. */
export function nameList(c: Cursor): string[] {
  c.expect('(')
  const names = commaList(c, (at) => at.name())
  c.expect(')')
  return names
}

interface BodyWithTop {
  body: QueryBody
  limit?: Query['limit']
}

function parseSetOperations(c: Cursor): BodyWithTop {
  const first = parseIntersect(c)
  let { body } = first
  for (;;) {
    const operator = c.accept('union')
      ? 'union'
      : c.accept('except') || c.accept('minus')
        ? 'except'
        : undefined
    if (!operator) return { ...first, body }
    const all = c.accept('all')
    if (!all) c.accept('distinct')
    if (all && operator === 'except') throw new UnknownToEmulator('EXCEPT ALL')
    body = { kind: 'set', operator, all, left: body, right: parseIntersect(c).body }
  }
}

function parseIntersect(c: Cursor): BodyWithTop {
  const first = parseBlock(c)
  let { body } = first
  while (c.accept('intersect')) {
    if (c.at('all')) throw new UnknownToEmulator('INTERSECT ALL')
    body = { kind: 'set', operator: 'intersect', all: false, left: body, right: parseBlock(c).body }
  }
  return { ...first, body }
}

function parseBlock(c: Cursor): BodyWithTop {
  if (c.accept('(')) {
    const query = parseQuery(c)
    c.expect(')')
    return { body: { kind: 'nested', query } }
  }
  return parseSelect(c)
}

function parseSelect(c: Cursor): BodyWithTop {
  c.expect('select')
  const top = c.accept('top') ? ({ kind: 'number', text: String(c.integer()) } as const) : undefined
  const distinct = c.accept('distinct')
  if (distinct && c.at('on', '(')) c.fail(c.peek())
  if (!distinct) c.accept('all')
  const items = commaList(c, parseItem)
  if (c.at('into')) throw new UnknownToEmulator('SELECT INTO')
  const from = c.accept('from') ? commaList(c, parseFromItem) : []
  const where = c.accept('where') ? parseExpr(c) : undefined
  const groupBy = c.accept('group', 'by') ? commaList(c, parseExpr) : []
  const having = c.accept('having') ? parseExpr(c) : undefined
  if (c.at('qualify')) throw new UnknownToEmulator('QUALIFY')
  const body: SelectCore = {
    kind: 'select',
    distinct,
    items,
    from,
    groupBy,
    ...(where && { where }),
    ...(having && { having }),
  }
  return top ? { body, limit: top } : { body }
}

function parseItem(c: Cursor): SelectItem {
  if (c.accept('*')) return refuseExclude(c, { kind: 'star' })
  const starAt = [1, 3, 5].find((ahead) => c.peek(ahead).value === '.' && c.peek(ahead + 1).value === '*')
  if (starAt !== undefined && isPath(c, starAt)) {
    const table: string[] = []
    for (let ahead = 0; ahead < starAt; ahead += 2) {
      table.push(c.name())
      c.expect('.')
    }
    c.expect('*')
    return refuseExclude(c, { kind: 'star', table })
  }
  const value = parseExpr(c)
  const alias = parseAlias(c)
  return alias === undefined ? { kind: 'value', value } : { kind: 'value', value, alias }
}

function refuseExclude(c: Cursor, item: SelectItem): SelectItem {
  if (c.at('exclude')) throw new UnknownToEmulator('EXCLUDE')
  return item
}

function isPath(c: Cursor, length: number): boolean {
  for (let ahead = 0; ahead < length; ahead++) {
    const { kind, value } = c.peek(ahead)
    if (ahead % 2 === 0 ? kind !== 'word' && kind !== 'quoted' : value !== '.') return false
  }
  return true
}

/** `AS name`, where AS takes any word, or a name without AS. */
function parseAlias(c: Cursor): string | undefined {
  if (c.accept('as')) return c.name()
  const { kind, value } = c.peek()
  const free = kind === 'quoted' || (kind === 'word' && !RESERVED.has(value) && !FOLLOWING.has(value))
  return free ? c.name() : undefined
}

/** Words that are not reserved but begin the next clause. */
const FOLLOWING = new Set([
  'set',
  'values',
  'within',
  'over',
  'qualify',
  'exclude',
  'start',
  'connect',
  'escape',
  'at',
])

export function parseTableRef(c: Cursor): TableRef {
  const parts = [c.name()]
  while (c.accept('.')) parts.push(c.name())
  const [name, schema, database, ...rest] = parts.reverse()
  if (rest.length > 0 || name === undefined)
    throw new RedshiftError('42601', 'improper qualified name (too many dotted names)')
  return { name, ...(schema !== undefined && { schema }), ...(database !== undefined && { database }) }
}

export function parseFromItem(c: Cursor): FromItem {
  let left = parseFromPrimary(c)
  for (;;) {
    const type = joinType(c)
    if (!type) return left
    const right = parseFromPrimary(c)
    if (type === 'cross') {
      left = { kind: 'join', type, left, right }
    } else if (c.accept('using')) {
      left = { kind: 'join', type, left, right, using: nameList(c) }
    } else {
      c.expect('on')
      left = { kind: 'join', type, left, right, on: parseExpr(c) }
    }
  }
}

function joinType(c: Cursor): 'inner' | 'left' | 'right' | 'full' | 'cross' | undefined {
  if (c.at('natural')) throw new UnknownToEmulator('NATURAL JOIN')
  if (c.accept('join') || c.accept('inner', 'join')) return 'inner'
  if (c.accept('cross', 'join')) return 'cross'
  for (const type of ['left', 'right', 'full'] as const) {
    if (c.accept(type, 'join') || c.accept(type, 'outer', 'join')) return type
  }
  return undefined
}

function parseFromPrimary(c: Cursor): FromItem {
  if (c.at('lateral')) c.fail()
  if (c.at('(')) {
    if (startsQuery(c)) return parseDerived(c)
    c.expect('(')
    // Redshift has no constant tables.
    if (c.at('values', '(')) c.fail()
    const item = parseFromItem(c)
    c.expect(')')
    return item
  }
  const table = parseTableRef(c)
  if (c.at('(')) throw new UnknownToEmulator(`the function ${table.name} in FROM`)
  const alias = parseAlias(c)
  if (alias !== undefined && c.at('(')) throw new UnknownToEmulator('column names behind a table alias')
  return alias === undefined ? { kind: 'table', table } : { kind: 'table', table, alias }
}

function parseDerived(c: Cursor): FromItem {
  c.expect('(')
  const query = parseQuery(c)
  c.expect(')')
  const alias = parseAlias(c)
  if (alias === undefined) throw new RedshiftError('42601', 'subquery in FROM must have an alias')
  const columns = c.at('(') ? nameList(c) : undefined
  return { kind: 'query', query, alias, ...(columns && { columns }) }
}
