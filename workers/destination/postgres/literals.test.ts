import { expect, it } from 'vitest'
import { arrayLiteral, copyLine } from './literals.ts'

it.each([
  [[], '{}'],
  [['a', null, ''], '{"a",NULL,""}'],
  [['NULL', '{x}', 'a,b', ' '], '{"NULL","{x}","a,b"," "}'],
  [['say "hi"', 'back\\slash'], '{"say \\"hi\\"","back\\\\slash"}'],
])('array of %o', (values, text) => {
  expect(arrayLiteral(values)).toBe(text)
})

it.each([
  [['a', null, ''], 'a\t\\N\t\n'],
  [['\\N', 'tab\there'], '\\\\N\ttab\\there\n'],
  [['two\nlines\r', '\\.'], 'two\\nlines\\r\t\\\\.\n'],
  [[], '\n'],
])('copy line of %o', (values, text) => {
  expect(copyLine(values)).toBe(text)
})
