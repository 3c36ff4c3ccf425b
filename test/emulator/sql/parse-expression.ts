import type { DataType, Expr, FunctionCall, OrderItem, Query, Window } from './ast.ts'
import type { Cursor } from './cursor.ts'
import { UnknownToEmulator } from './errors.ts'
import { RESERVED } from './keywords.ts'
import { parseQuery, startsQuery } from './parse-query.ts'
import { parseType } from './types.ts'

/** Parses one expression, by Redshift's precedence. */
export function parseExpr(c: Cursor): Expr {
  let left = parseAnd(c)
  while (c.accept('or')) left = { kind: 'binary', operator: 'or', left, right: parseAnd(c) }
  return left
}

function parseAnd(c: Cursor): Expr {
  let left = parseNot(c)
  while (c.accept('and')) left = { kind: 'binary', operator: 'and', left, right: parseNot(c) }
  return left
}

function parseNot(c: Cursor): Expr {
  return c.accept('not') ? { kind: 'unary', operator: 'not', value: parseNot(c) } : parsePredicate(c)
}

const COMPARISONS = ['=', '<>', '!=', '<=', '>=', '<', '>'] as const

function parsePredicate(c: Cursor): Expr {
  let left = parseOther(c)
  for (;;) {
    const comparison = COMPARISONS.find((operator) => c.accept(operator))
    if (comparison) {
      left = {
        kind: 'binary',
        operator: comparison === '!=' ? '<>' : comparison,
        left,
        right: parseComparand(c),
      }
    } else if (c.accept('is')) {
      left = parseIs(c, left)
    } else if (c.accept('isnull')) {
      left = { kind: 'is', not: false, what: 'null', value: left }
    } else if (c.accept('notnull')) {
      left = { kind: 'is', not: true, what: 'null', value: left }
    } else {
      const suffix = parseSuffix(c, left)
      if (!suffix) return left
      left = suffix
    }
  }
}

function parseComparand(c: Cursor): Expr {
  if (c.at('any') || c.at('some') || c.at('all')) throw new UnknownToEmulator('ANY, SOME and ALL')
  return parseOther(c)
}

function parseIs(c: Cursor, value: Expr): Expr {
  const not = c.accept('not')
  for (const what of ['null', 'true', 'false', 'unknown'] as const) {
    if (c.accept(what)) return { kind: 'is', not, what, value }
  }
  // IS DISTINCT FROM ends here too: Redshift has not got it.
  return c.fail()
}

function parseSuffix(c: Cursor, value: Expr): Expr | undefined {
  const not = c.at('not') && ['between', 'in', 'like', 'ilike', 'similar'].includes(c.peek(1).value)
  if (not) c.next()
  if (c.accept('between')) {
    if (c.at('symmetric')) c.fail()
    const low = parseOther(c)
    c.expect('and')
    return { kind: 'between', not, value, low, high: parseOther(c) }
  }
  if (c.accept('in')) return { kind: 'in', not, value, list: parseInList(c) }
  if (c.accept('like')) return parseLike(c, value, not, 'like')
  if (c.accept('ilike')) return parseLike(c, value, not, 'ilike')
  if (c.accept('similar', 'to')) return parseLike(c, value, not, 'similar to')
  return undefined
}

function parseInList(c: Cursor): readonly Expr[] | Query {
  c.expect('(')
  const list = startsQuery(c) ? parseQuery(c) : commaList(c, parseExpr)
  c.expect(')')
  return list
}

function parseLike(c: Cursor, value: Expr, not: boolean, operator: 'like' | 'ilike' | 'similar to'): Expr {
  const pattern = parseOther(c)
  return c.accept('escape')
    ? { kind: 'like', not, operator, value, pattern, escape: c.string() }
    : { kind: 'like', not, operator, value, pattern }
}

const OTHER_OPERATORS = ['||', '~', '~*', '!~', '!~*', '&', '|', '#', '<<', '>>'] as const

function parseOther(c: Cursor): Expr {
  let left = parseSum(c)
  for (;;) {
    const operator = OTHER_OPERATORS.find((candidate) => c.accept(candidate))
    if (!operator) return left
    left = { kind: 'binary', operator, left, right: parseSum(c) }
  }
}

function parseSum(c: Cursor): Expr {
  let left = parseProduct(c)
  for (;;) {
    const operator = (['+', '-'] as const).find((candidate) => c.accept(candidate))
    if (!operator) return left
    left = { kind: 'binary', operator, left, right: parseProduct(c) }
  }
}

function parseProduct(c: Cursor): Expr {
  let left = parsePower(c)
  for (;;) {
    const operator = (['*', '/', '%'] as const).find((candidate) => c.accept(candidate))
    if (!operator) return left
    left = { kind: 'binary', operator, left, right: parsePower(c) }
  }
}

function parsePower(c: Cursor): Expr {
  let left = parseUnary(c)
  while (c.accept('^')) left = { kind: 'binary', operator: '^', left, right: parseUnary(c) }
  return left
}

function parseUnary(c: Cursor): Expr {
  if (c.accept('-')) return { kind: 'unary', operator: '-', value: parseUnary(c) }
  if (c.accept('+')) return { kind: 'unary', operator: '+', value: parseUnary(c) }
  return parsePostfix(c)
}

function parsePostfix(c: Cursor): Expr {
  let value = parsePrimary(c)
  for (;;) {
    if (c.accept('::')) value = { kind: 'cast', value, type: parseType(c) }
    else if (c.at('[')) throw new UnknownToEmulator('parts of a SUPER value ([…])')
    else if (c.accept('at', 'time', 'zone')) value = call('timezone', [parsePrimary(c), value])
    else return value
  }
}

function parsePrimary(c: Cursor): Expr {
  const token = c.peek()
  switch (token.kind) {
    case 'string':
      return { kind: 'string', value: c.next().value }
    case 'number':
      return { kind: 'number', text: c.next().text }
    case 'param':
      return { kind: 'param', name: c.next().value }
    case 'operator':
      return token.value === '(' ? parseParenthesis(c) : c.fail()
    case 'quoted':
      return parseReference(c)
    case 'word':
      return parseWord(c, token.value)
    default:
      return c.fail()
  }
}

function parseParenthesis(c: Cursor): Expr {
  c.expect('(')
  if (startsQuery(c)) {
    const query = parseQuery(c)
    c.expect(')')
    return { kind: 'subquery', query }
  }
  const values = commaList(c, parseExpr)
  c.expect(')')
  return values.length === 1 ? (values[0] as Expr) : { kind: 'row', values }
}

/** Typed literals: the word, and the type it makes of the string after it. */
const TYPED_LITERALS: Record<string, DataType> = {
  date: { kind: 'date' },
  time: { kind: 'time' },
  timetz: { kind: 'timetz' },
  timestamp: { kind: 'timestamp' },
  timestamptz: { kind: 'timestamptz' },
}

const WITHOUT_PARENTHESES = new Set(
  'current_date sysdate current_user session_user user current_timestamp current_time localtime localtimestamp'.split(
    ' ',
  ),
)

function parseWord(c: Cursor, word: string): Expr {
  if (c.accept('null')) return { kind: 'null' }
  if (c.accept('true')) return { kind: 'boolean', value: true }
  if (c.accept('false')) return { kind: 'boolean', value: false }
  if (c.accept('default')) return { kind: 'default' }
  if (c.accept('case')) return parseCase(c)
  if (c.at('exists', '(')) {
    c.expect('exists', '(')
    const query = parseQuery(c)
    c.expect(')')
    return { kind: 'exists', query }
  }
  if (['array', 'row', 'approximate'].includes(word)) throw new UnknownToEmulator(word.toUpperCase())
  const followedByString = c.peek(1).kind === 'string'
  const literal = TYPED_LITERALS[word]
  if (followedByString && literal) {
    c.next()
    return { kind: 'cast', value: { kind: 'string', value: c.string() }, type: literal }
  }
  if (followedByString && c.accept('interval')) return { kind: 'interval', value: c.string() }
  if (c.peek(1).value === '(' && c.peek(1).kind === 'operator') return parseCall(c)
  if (WITHOUT_PARENTHESES.has(word)) {
    c.next()
    return { kind: 'call', name: word, args: [], star: false, distinct: false }
  }
  if (RESERVED.has(word) && word !== 'oid') c.fail()
  return parseReference(c)
}

function parseReference(c: Cursor): Expr {
  // OID is reserved and yet a column of the catalog.
  const path = [c.at('oid') ? c.anyName() : c.name()]
  while (c.at('.') && c.peek(1).value !== '*') {
    c.next()
    path.push(c.anyName())
  }
  if (path.length > 4) throw new UnknownToEmulator('parts of a SUPER value (a.b.c.d.e)')
  if (c.at('(')) {
    // A qualified function call, such as pg_catalog.version().
    if (path[0] !== 'pg_catalog' || path.length !== 2)
      throw new UnknownToEmulator(`the function ${path.join('.')}`)
    return parseArguments(c, path[1] as string)
  }
  return { kind: 'column', path }
}

function parseCase(c: Cursor): Expr {
  const operand = c.at('when') ? undefined : parseExpr(c)
  const branches: { when: Expr; result: Expr }[] = []
  while (c.accept('when')) {
    const when = parseExpr(c)
    c.expect('then')
    branches.push({ when, result: parseExpr(c) })
  }
  if (branches.length === 0) c.fail()
  const otherwise = c.accept('else') ? parseExpr(c) : undefined
  c.expect('end')
  return { kind: 'case', branches, ...(operand && { operand }), ...(otherwise && { otherwise }) }
}

/** Words that are reserved and yet names of functions. */
const RESERVED_FUNCTIONS = new Set(
  'cast left right identity user timestamp sysdate top some any all convert'.split(' '),
)

function parseCall(c: Cursor): Expr {
  const { value: name } = c.peek()
  if (RESERVED.has(name) && !RESERVED_FUNCTIONS.has(name)) c.fail()
  c.next()
  const special = parseSpecialCall(c, name)
  return special ?? parseArguments(c, name)
}

const call = (name: string, args: readonly Expr[]): FunctionCall => ({
  kind: 'call',
  name,
  args,
  star: false,
  distinct: false,
})

/** The calls whose arguments are not a plain list. */
function parseSpecialCall(c: Cursor, name: string): Expr | undefined {
  if (name === 'cast') {
    c.expect('(')
    const value = parseExpr(c)
    c.expect('as')
    const type = parseType(c)
    c.expect(')')
    return { kind: 'cast', value, type }
  }
  if (name === 'convert') {
    c.expect('(')
    const type = parseType(c)
    c.expect(',')
    const value = parseExpr(c)
    c.expect(')')
    return { kind: 'cast', value, type }
  }
  if (name === 'extract') {
    c.expect('(')
    const field = c.next().value
    c.expect('from')
    const value = parseExpr(c)
    c.expect(')')
    return call('date_part', [{ kind: 'string', value: field }, value])
  }
  if (name === 'position') {
    c.expect('(')
    const part = parseSum(c)
    c.expect('in')
    const whole = parseExpr(c)
    c.expect(')')
    return call('strpos', [whole, part])
  }
  if (name === 'trim') return parseTrim(c)
  return undefined
}

function parseTrim(c: Cursor): Expr {
  c.expect('(')
  const side = (['both', 'leading', 'trailing'] as const).find((word) => c.accept(word))
  const first = c.at('from') ? undefined : parseExpr(c)
  const name = side === 'leading' ? 'ltrim' : side === 'trailing' ? 'rtrim' : 'btrim'
  if (c.accept('from')) {
    const value = parseExpr(c)
    c.expect(')')
    return call(name, first ? [value, first] : [value])
  }
  const more = c.accept(',') ? [parseExpr(c)] : []
  c.expect(')')
  return call(name, [first ?? c.fail(), ...more])
}

function parseArguments(c: Cursor, name: string): FunctionCall {
  c.expect('(')
  if (c.accept('*')) {
    c.expect(')')
    return parseOver(c, { ...call(name, []), star: true })
  }
  const distinct = c.accept('distinct')
  if (!distinct) c.accept('all')
  const args: Expr[] = []
  if (!c.at(')')) {
    args.push(parseExpr(c))
    // SUBSTRING(x FROM a FOR b)
    if (name === 'substring' && c.accept('from')) {
      args.push(parseExpr(c))
      if (c.accept('for')) args.push(parseExpr(c))
    }
    while (c.accept(',')) args.push(parseExpr(c))
  }
  c.expect(')')
  const made: FunctionCall = { ...call(name, args), distinct }
  if (!c.at('within', 'group')) return parseOver(c, made)
  c.expect('within', 'group', '(', 'order', 'by')
  const withinGroup = commaList(c, parseOrderItem)
  c.expect(')')
  return parseOver(c, { ...made, withinGroup })
}

function parseOver(c: Cursor, made: FunctionCall): FunctionCall {
  if (c.at('ignore', 'nulls') || c.at('respect', 'nulls'))
    throw new UnknownToEmulator('IGNORE NULLS and RESPECT NULLS')
  return c.accept('over') ? { ...made, over: parseWindow(c) } : made
}

function parseWindow(c: Cursor): Window {
  c.expect('(')
  const partition = c.accept('partition', 'by') ? commaList(c, parseExpr) : []
  const order = c.accept('order', 'by') ? commaList(c, parseOrderItem) : []
  const frame: string[] = []
  if (c.at('rows')) {
    while (!c.at(')')) frame.push(frameWord(c))
  }
  c.expect(')')
  return frame.length > 0 ? { partition, order, frame: frame.join(' ') } : { partition, order }
}

const FRAME_WORDS = new Set('rows between unbounded preceding following and current row'.split(' '))

function frameWord(c: Cursor): string {
  const token = c.next()
  return FRAME_WORDS.has(token.value) || /^\d+$/.test(token.text) ? token.value : c.fail(token)
}

export function parseOrderItem(c: Cursor): OrderItem {
  const value = parseExpr(c)
  const direction = c.accept('asc') ? 'asc' : c.accept('desc') ? 'desc' : undefined
  const nulls = c.accept('nulls', 'first') ? 'first' : c.accept('nulls', 'last') ? 'last' : undefined
  return { value, ...(direction && { direction }), ...(nulls && { nulls }) }
}

/** One or more, separated by commas. */
export function commaList<T>(c: Cursor, parse: (c: Cursor) => T): T[] {
  const list = [parse(c)]
  while (c.accept(',')) list.push(parse(c))
  return list
}
