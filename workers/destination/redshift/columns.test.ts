import { describe, expect, it } from 'vitest'
import type { RedshiftDestination } from '../../../crds/redshift.ts'
import type { Column, TableDefinition } from '../../source/table.ts'
import { columnExpression, columnRules, scannedColumns } from './columns.ts'
import { redshiftSettings } from './settings.ts'

type Kind = Column['typeKind']

function define(...columns: readonly (readonly [name: string, type: string, kind?: Kind])[]) {
  return {
    schema: 'public',
    name: 't',
    key: ['id'],
    columns: columns.map(([name, type, typeKind = 'base']) => ({
      name,
      type,
      typeKind,
      baseType: type.replace('[]', ''),
      typeOid: 0,
      typeModifier: -1,
      notNull: name === 'id',
    })),
  } as unknown as TableDefinition
}

function expressions(definition: TableDefinition, tables?: RedshiftDestination['tables']): string[] {
  const rules = columnRules(definition, redshiftSettings(tables ? { tables } : {}))
  return rules.map((rule) => columnExpression(rule, `"${rule.name}"`, 'Truncate'))
}

describe('a scan', () => {
  it('asks nothing of columns whose values always fit, or of which the length of a row says it', () => {
    const columns = define(
      ['id', 'bigint'],
      ['title', 'text'],
      ['code', 'character varying(20)'],
      ['data', 'jsonb'],
      ['ok', 'boolean'],
      ['who', 'uuid'],
    )
    expect(expressions(columns)).toEqual(['"id"', '"title"', '"code"', '"data"', '"ok"', '"who"'])
  })

  it('lets a whole number say that something in its row may not fit', () => {
    const [made, id, price] = expressions(
      define(['made', 'timestamp with time zone'], ['id', 'integer'], ['price', 'numeric(10,2)']),
    )
    expect([made, price]).toEqual(['"made"', '"price"'])
    expect(id).toBe(
      `CASE WHEN ("made" > '9999-12-31 23:59:59.999999+00' OR "made" < '0001-01-01 00:00:00+00') OR ("price" = 'NaN')` +
        ` THEN '<~mr:?>' || coalesce('=' || "id"::text, '') ELSE "id"::text END`,
    )
  })

  it('takes care that a text that has to say it does not look like a mark by itself', () => {
    const [id] = expressions(define(['id', 'text'], ['note', 'text']), [
      { schema: 'public', name: 't', columns: [{ name: 'note', type: 'VARCHAR(32)' }] },
    ] as unknown as RedshiftDestination['tables'])
    expect(id).toContain(`starts_with(format('%s', "id"), '<~mr:')`)
    expect(id).toContain(`octet_length(convert_to(format('%s', "note"), 'UTF8')) > 32`)
  })

  it('makes what is no text of its own in the source, with a mark of its own', () => {
    const definition = define(['id', 'integer'], ['tags', 'text[]', 'array'], ['blob', 'bytea'])
    const [id, tags, blob] = expressions(definition)
    expect(id).toBe('"id"')
    expect(tags).toContain("'<~mr:1><~mr>'")
    expect(blob).toContain("encode(t.v, 'hex')".replace('t.v', '"blob"'))
    const kinds = scannedColumns(columnRules(definition, redshiftSettings({})), 'Null').map(
      ({ kind }) => kind,
    )
    expect(kinds).toEqual(['plain', 'converted', 'converted'])
  })

  it('has the reader look at values of a row that is longer than what fits', () => {
    const definition = define(['id', 'integer'], ['title', 'text'], ['code', 'character varying(20)'])
    const columns = scannedColumns(columnRules(definition, redshiftSettings({})), 'Null')
    expect(columns.map(({ bytes }) => bytes)).toEqual([
      Number.POSITIVE_INFINITY,
      65_535,
      Number.POSITIVE_INFINITY,
    ])
    const unfit: number[] = []
    expect(columns[1]?.convert('x'.repeat(65_536), () => unfit.push(1))).toBeNull()
    expect(unfit).toEqual([1])
  })
})
