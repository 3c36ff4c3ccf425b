import { describe, expect, it } from 'vitest'
import type { Column } from '../../source/table.ts'
import { comparedColumns, destinationParts, sourceParts } from './comparison-columns.ts'
import { plain } from './form.ts'
import type { RedshiftType } from './redshift-type.ts'

function columnsOf(type: RedshiftType) {
  const column = { name: 'c', type: 'text', baseType: 'text', typeKind: 'base' } as Column
  const rule = { index: 0, name: 'c', type, form: plain(type), key: false }
  return comparedColumns([{ column, rule, type }], 'Null')
}

describe('the text of a row', () => {
  it.each<[string, RedshiftType, string, string]>([
    [
      'a short text, which may have what ends it',
      { kind: 'varchar', length: 20 },
      `coalesce(octet_length(convert_to((t."c"::text), 'UTF8')) || ':' || (t."c"::text) || E'\\x02', E'\\x01')`,
      `COALESCE(CAST(OCTET_LENGTH(t."c") AS VARCHAR(8)) || ':' || t."c" || CHR(2), CHR(1))`,
    ],
    [
      'characters',
      { kind: 'char', length: 20 },
      `coalesce(octet_length(convert_to(rtrim(t."c"::text, ' '), 'UTF8')) || ':' || rtrim(t."c"::text, ' ') || E'\\x02', E'\\x01')`,
      `COALESCE(CAST(OCTET_LENGTH(RTRIM(t."c")) AS VARCHAR(8)) || ':' || RTRIM(t."c") || CHR(2), CHR(1))`,
    ],
    [
      'the hash of a long text, which has not',
      { kind: 'varchar', length: 2000 },
      `coalesce(md5(convert_to(t."c"::text, 'UTF8')) || E'\\x02', E'\\x01')`,
      `COALESCE(MD5(t."c") || CHR(2), CHR(1))`,
    ],
  ])('has %s', (_what, type, source, destination) => {
    expect(sourceParts(columnsOf(type))).toEqual([source])
    expect(destinationParts(columnsOf(type))).toBe(destination)
  })
})
