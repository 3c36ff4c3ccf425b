import { expect, it } from 'vitest'
import { literal, typedLiteral } from './literals.ts'
import { parseType } from './redshift-type.ts'

it('escapes quotes and backslashes', () => {
  expect(literal(`it's \\ 'so'`)).toBe(`'it''s \\\\ ''so'''`)
})

it.each([
  ['INTEGER', '-17', '-17'],
  ['BIGINT', '9223372036854775807', '9223372036854775807'],
  ['INTEGER', "1); DROP TABLE x; --'", `'1); DROP TABLE x; --'''::INTEGER`],
  ['NUMERIC(12,2)', '1.50', `'1.50'::NUMERIC(12,2)`],
  ['VARCHAR(10)', 'a', `'a'`],
  ['SUPER', '{"a":"\\n"}', `JSON_PARSE('{"a":"\\\\n"}')`],
  ['VARBYTE(10)', '00ff', `FROM_HEX('00ff')`],
  ['BOOLEAN', 't', `'t'::BOOLEAN`],
  ['TIMESTAMPTZ', '2024-01-01 00:00:00+00', `'2024-01-01 00:00:00+00'::TIMESTAMPTZ`],
  ['SUPER', null, 'NULL'],
])('writes a %s', (type, text, sql) => {
  const parsed = parseType(type)
  expect(parsed && typedLiteral(parsed, text)).toBe(sql)
})
