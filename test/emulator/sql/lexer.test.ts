import { describe, expect, it } from 'vitest'
import { RedshiftError, UnknownToEmulator } from './errors.ts'
import { tokenize } from './lexer.ts'

const values = (sql: string) => tokenize(sql).map(({ kind, value }) => `${kind}:${value}`)

describe('tokens', () => {
  it.each([
    ['select 1', ['word:select', 'number:1', 'end:']],
    ['SELECT "Group"', ['word:select', 'quoted:Group', 'end:']],
    ['a::int', ['word:a', 'operator:::', 'word:int', 'end:']],
    ['a = :name', ['word:a', 'operator:=', 'param:name', 'end:']],
    ['a=:name::int', ['word:a', 'operator:=', 'param:name', 'operator:::', 'word:int', 'end:']],
    ['1.5e-3 .5 2.', ['number:1.5e-3', 'number:.5', 'number:2.', 'end:']],
    [
      'x<>1 and y!=2',
      ['word:x', 'operator:<>', 'number:1', 'word:and', 'word:y', 'operator:!=', 'number:2', 'end:'],
    ],
    ["'a:b' -- :c\n:d", ['string:a:b', 'param:d', 'end:']],
    ['1 /* a /* nested */ comment */ 2', ['number:1', 'number:2', 'end:']],
    ['größe', ['word:größe', 'end:']],
  ])('%s', (sql, expected) => {
    expect(values(sql)).toEqual(expected)
  })

  it('knows where each token stands', () => {
    expect(tokenize('select  a').map(({ start }) => start)).toEqual([0, 8, 9])
  })
})

describe('strings', () => {
  it.each([
    [`'it''s'`, `it's`],
    [String.raw`'it\'s'`, `it's`],
    [String.raw`'a\\b'`, String.raw`a\b`],
    [String.raw`'a\nb\tc'`, 'a\nb\tc'],
    [String.raw`'\101'`, 'A'],
    [String.raw`'\"'`, '"'],
    [String.raw`'\🙂'`, '🙂'],
    [`'line\nbreak'`, 'line\nbreak'],
    [`''`, ''],
  ])('%s', (sql, expected) => {
    expect(tokenize(sql)[0]).toMatchObject({ kind: 'string', value: expected })
  })
})

describe('refused', () => {
  it.each([
    [`'open`, 'unterminated quoted string'],
    [String.raw`'open\'`, 'unterminated quoted string'],
    [`"open`, 'unterminated quoted identifier'],
    [`"a""b"`, 'a name cannot contain a double quote'],
    [`""`, 'zero-length delimited identifier'],
    ['/* open', 'unterminated /* comment'],
    [String.raw`'\0'`, 'invalid byte sequence for encoding "UTF8": 0x00'],
    ['select ?', 'syntax error at or near "?"'],
  ])('%s', (sql, message) => {
    expect(() => tokenize(sql)).toThrow(RedshiftError)
    expect(() => tokenize(sql)).toThrow(message)
  })

  it.each([
    ["E'a'", "the literal E'…'"],
    ["select x'00'", "the literal x'…'"],
    ['$$body$$', 'dollar quotes and numbered parameters'],
    ['select $1', 'dollar quotes and numbered parameters'],
    [String.raw`'\x41'`, String.raw`the escape \x in a string`],
    [String.raw`'\377'`, 'a byte beyond ASCII'],
  ])('not known: %s', (sql, what) => {
    expect(() => tokenize(sql)).toThrow(UnknownToEmulator)
    expect(() => tokenize(sql)).toThrow(what)
  })
})
