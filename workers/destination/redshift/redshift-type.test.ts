import { expect, it } from 'vitest'
import { compareTypes, parseType, typeText } from './redshift-type.ts'

it.each([
  ['character varying(256)', 'VARCHAR(256)'],
  ['VARCHAR(max)', 'VARCHAR(65535)'],
  ['numeric(12,2)', 'NUMERIC(12,2)'],
  ['NUMERIC(12, 2)', 'NUMERIC(12,2)'],
  ['numeric', 'NUMERIC(18,0)'],
  ['binary varying(64000)', 'VARBYTE(64000)'],
  ['timestamp with time zone', 'TIMESTAMPTZ'],
  ['double precision', 'DOUBLE PRECISION'],
  ['super', 'SUPER'],
  ['bigint', 'BIGINT'],
])('reads %s', (text, type) => {
  const parsed = parseType(text)
  expect(parsed && typeText(parsed)).toBe(type)
})

it.each(['geometry', 'nonsense(1)', '', 'varchar(x)'])('does not read %j', (text) => {
  expect(parseType(text)).toBeUndefined()
})

it.each([
  ['VARCHAR(256)', 'VARCHAR(256)', 'fits'],
  ['VARCHAR(256)', 'VARCHAR(100)', 'fits'],
  ['VARCHAR(100)', 'VARCHAR(256)', 'lengthen'],
  ['VARCHAR(256)', 'BIGINT', 'fits'],
  ['VARCHAR(10)', 'TIMESTAMP', 'differs'],
  ['VARCHAR(65535)', 'SUPER', 'differs'],
  ['INTEGER', 'SMALLINT', 'fits'],
  ['INTEGER', 'BIGINT', 'replace'],
  ['BIGINT', 'NUMERIC(38,18)', 'replace'],
  ['NUMERIC(38,18)', 'BIGINT', 'fits'],
  ['NUMERIC(10,2)', 'NUMERIC(12,4)', 'replace'],
  ['NUMERIC(12,4)', 'NUMERIC(10,2)', 'fits'],
  ['NUMERIC(10,2)', 'NUMERIC(10,4)', 'differs'],
  ['REAL', 'DOUBLE PRECISION', 'replace'],
  ['DATE', 'TIMESTAMP', 'differs'],
  ['CHAR(36)', 'CHAR(36)', 'fits'],
  ['CHAR(36)', 'VARCHAR(64)', 'replace'],
  ['SUPER', 'SUPER', 'fits'],
  ['VARBYTE(64000)', 'VARBYTE(1024000)', 'replace'],
] as const)('%s for %s: %s', (found, wanted, fit) => {
  const [a, b] = [parseType(found), parseType(wanted)]
  expect(a && b && compareTypes(a, b)).toBe(fit)
})
