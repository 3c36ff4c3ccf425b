import { RedshiftError, syntaxError, UnknownToEmulator } from './errors.ts'

export type TokenKind = 'word' | 'quoted' | 'string' | 'number' | 'param' | 'operator' | 'end'

export interface Token {
  readonly kind: TokenKind
  /** As it stands in the statement. */
  readonly text: string
  /** Words in lower case, names and strings without their quotes and escapes, the name of a parameter. */
  readonly value: string
  /** Offset in the statement, from 0. */
  readonly start: number
}

const SPACE = /\s+/y
const LINE_COMMENT = /--[^\n]*/y
const WORD = /[A-Za-z_\u0080-\u{10ffff}][A-Za-z0-9_$\u0080-\u{10ffff}]*/uy
const NUMBER = /(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y
const PARAM = /:[A-Za-z_][A-Za-z0-9_]*/y
const OPERATOR = /::|<>|<=|>=|!=|\|\||!~\*|!~|~\*|<<|>>|[-+*/%^=<>~!|&#@(),.;[\]]/y

/** Cuts a statement into tokens, by Redshift's rules of quoting. The last token is of kind `end`. */
export function tokenize(sql: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    return pattern.exec(sql)?.[0]
  }
  const push = (kind: TokenKind, text: string, value: string) => {
    tokens.push({ kind, text, value, start: at })
    at += text.length
  }
  while (at < sql.length) {
    const blank = match(SPACE) ?? match(LINE_COMMENT)
    if (blank !== undefined) {
      at += blank.length
      continue
    }
    if (sql.startsWith('/*', at)) {
      at = endOfComment(sql, at)
      continue
    }
    const first = sql[at] as string
    if (first === "'") push('string', ...stringLiteral(sql, at))
    else if (first === '"') push('quoted', ...quotedName(sql, at))
    else lexPlain(sql, at, match, push)
  }
  tokens.push({ kind: 'end', text: '', value: '', start: sql.length })
  return tokens
}

function lexPlain(
  sql: string,
  at: number,
  match: (pattern: RegExp) => string | undefined,
  push: (kind: TokenKind, text: string, value: string) => void,
) {
  const word = match(WORD)
  if (word !== undefined) {
    // E'…', B'…', X'…', N'…': PostgreSQL's, not known to be Redshift's.
    if (sql[at + word.length] === "'" && word.length === 1) {
      throw new UnknownToEmulator(`the literal ${word}'…'`)
    }
    return push('word', word, word.toLowerCase())
  }
  const number = match(NUMBER)
  if (number !== undefined) return push('number', number, number)
  const param = sql.startsWith('::', at) ? undefined : match(PARAM)
  if (param !== undefined) return push('param', param, param.slice(1))
  const operator = match(OPERATOR)
  if (operator !== undefined) return push('operator', operator, operator)
  if (sql[at] === '$') throw new UnknownToEmulator('dollar quotes and numbered parameters')
  throw syntaxError(sql[at] as string, at + 1)
}

function endOfComment(sql: string, start: number): number {
  let depth = 0
  for (let at = start; at < sql.length; at++) {
    if (sql.startsWith('/*', at)) {
      depth++
      at++
    } else if (sql.startsWith('*/', at)) {
      depth--
      at++
      if (depth === 0) return at + 1
    }
  }
  throw new RedshiftError('42601', 'unterminated /* comment')
}

function quotedName(sql: string, start: number): [text: string, value: string] {
  const end = sql.indexOf('"', start + 1)
  if (end < 0) throw new RedshiftError('42601', 'unterminated quoted identifier')
  if (sql[end + 1] === '"') {
    throw new RedshiftError('42602', 'a name cannot contain a double quote')
  }
  if (end === start + 1) throw new RedshiftError('42601', 'zero-length delimited identifier')
  return [sql.slice(start, end + 1), sql.slice(start + 1, end)]
}

const ESCAPES: Record<string, string> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }

/** A backslash escapes, as in PostgreSQL before standard_conforming_strings, and two quotes stand for one. */
function stringLiteral(sql: string, start: number): [text: string, value: string] {
  const parts: string[] = []
  let at = start + 1
  for (;;) {
    const stop = nextSpecial(sql, at)
    if (stop < 0) throw new RedshiftError('42601', 'unterminated quoted string')
    parts.push(sql.slice(at, stop))
    if (sql[stop] === "'") {
      if (sql[stop + 1] !== "'") return [sql.slice(start, stop + 1), refuseNul(parts.join(''))]
      parts.push("'")
      at = stop + 2
    } else {
      const [text, length] = unescapeAt(sql, stop + 1)
      parts.push(text)
      at = stop + 1 + length
    }
  }
}

function nextSpecial(sql: string, from: number): number {
  const pattern = /['\\]/g
  pattern.lastIndex = from
  return pattern.exec(sql)?.index ?? -1
}

function unescapeAt(sql: string, at: number): [text: string, length: number] {
  const next = sql[at]
  if (next === undefined) throw new RedshiftError('42601', 'unterminated quoted string')
  const octal = /[0-7]{1,3}/y
  octal.lastIndex = at
  const digits = octal.exec(sql)?.[0]
  if (digits !== undefined) {
    const code = Number.parseInt(digits, 8)
    if (code > 0x7f) throw new UnknownToEmulator(`the escape \\${digits} in a string, a byte beyond ASCII`)
    return [String.fromCharCode(code), digits.length]
  }
  const known = ESCAPES[next]
  if (known !== undefined) return [known, 1]
  if (/[A-Za-z89]/.test(next)) throw new UnknownToEmulator(`the escape \\${next} in a string`)
  const character = String.fromCodePoint(sql.codePointAt(at) as number)
  return [character, character.length]
}

function refuseNul(value: string): string {
  if (value.includes('\0'))
    throw new RedshiftError('22021', 'invalid byte sequence for encoding "UTF8": 0x00')
  return value
}
