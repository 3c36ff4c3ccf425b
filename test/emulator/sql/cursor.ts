import { RedshiftError, syntaxError } from './errors.ts'
import { RESERVED } from './keywords.ts'
import type { Token } from './lexer.ts'

export interface ParseOptions {
  /** `enable_case_sensitive_identifier`: names in double quotes keep their case. */
  readonly caseSensitive: boolean
}

/** Walks over the tokens of one statement. Everything that does not fit is a syntax error at the token it stands at. */
export interface Cursor {
  readonly options: ParseOptions
  peek(ahead?: number): Token
  next(): Token
  /** True when the next tokens are these words or operators; takes them. */
  accept(...texts: string[]): boolean
  /** True when the next tokens are these; leaves them. */
  at(...texts: string[]): boolean
  expect(...texts: string[]): void
  /** A name: a word that is not reserved, or anything in double quotes. */
  name(): string
  /** A name behind a dot, where no word is reserved. */
  anyName(): string
  string(): string
  integer(): number
  fail(token?: Token): never
}

const MAX_NAME_BYTES = 127

export function createCursor(tokens: readonly Token[], options: ParseOptions): Cursor {
  let index = 0
  const peek = (ahead = 0) => tokens[Math.min(index + ahead, tokens.length - 1)] as Token
  const fail = (token = peek()): never => {
    throw syntaxError(token.text, token.start + 1)
  }
  const is = (token: Token, text: string) =>
    (token.kind === 'word' || token.kind === 'operator') && token.value === text
  const at = (...texts: string[]) => texts.every((text, ahead) => is(peek(ahead), text))
  const next = () => {
    const token = peek()
    index++
    return token
  }
  const accept = (...texts: string[]) => {
    if (!at(...texts)) return false
    index += texts.length
    return true
  }
  const expect = (...texts: string[]) => {
    for (const text of texts) if (!accept(text)) fail()
  }
  const name = () => {
    const token = peek()
    if (token.kind !== 'quoted' && (token.kind !== 'word' || RESERVED.has(token.value))) fail()
    index++
    return foldName(token, options)
  }
  const anyName = () => (peek().kind === 'word' ? foldName(next(), options) : name())
  const string = () => (peek().kind === 'string' ? next().value : fail())
  const integer = () => (/^\d+$/.test(peek().text) ? Number(next().text) : fail())
  return { options, peek, next, accept, at, expect, name, anyName, string, integer, fail }
}

/** Redshift folds ASCII letters to lower case, in double quotes too unless the session asks for case. */
export function foldName(token: Token, options: ParseOptions): string {
  const keep = token.kind === 'quoted' && options.caseSensitive
  const raw = token.kind === 'quoted' ? token.value : token.text
  const folded = keep ? raw : foldCase(raw)
  if (Buffer.byteLength(folded) > MAX_NAME_BYTES) {
    throw new RedshiftError(
      '42622',
      `identifier "${folded}" is longer than ${MAX_NAME_BYTES} bytes: Redshift would cut it off, which makes two names one`,
    )
  }
  return folded
}

export const foldCase = (text: string) => text.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase())
