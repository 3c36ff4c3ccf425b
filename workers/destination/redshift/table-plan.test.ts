import { describe, expect, it } from 'vitest'
import type { Column, TableDefinition } from '../../source/table.ts'
import { columnRules } from './columns.ts'
import { parseType } from './redshift-type.ts'
import { redshiftSettings } from './settings.ts'
import { planTable } from './table-plan.ts'

/** A column that is gone from the source, as the rows that are queued with it describe it. */
const gone = (type: string, more: Partial<Column> = {}): Column => ({
  name: 'd',
  type,
  typeOid: 0,
  typeModifier: -1,
  typeKind: 'base',
  baseType: type,
  notNull: false,
  ...more,
})

function plan(column: Column, there: string) {
  const definition: TableDefinition = {
    schema: 'public',
    name: 't',
    oid: 1,
    columns: [column],
    key: [],
    replicaIdentity: 'full',
    partitioned: false,
  }
  const { alone, together } = planTable({
    target: definition,
    found: {
      id: '1',
      name: definition,
      attributes: 1,
      columns: [
        {
          name: 'd',
          type: parseType(there),
          typeText: there,
          notNull: false,
          hasDefault: false,
          identity: false,
          layout: false,
        },
      ],
    },
    definition,
    rules: columnRules(definition, redshiftSettings({})),
    options: { deletes: 'Hard' },
    override: undefined,
    emptied: false,
    constant: () => null,
  })
  return [...alone, ...together.flat()]
}

describe('a column that is gone from the source, with rows of it in the queue', () => {
  it.each([
    ['integer', 'integer'],
    ['date', 'date'],
    ['jsonb', 'super'],
    ['bytea', 'varbyte(1024000)'],
    ['text[]', 'super'],
  ])('over which the header says that a domain stands, %s, keeps its type', (baseType, there) => {
    expect(plan(gone('public.dom', { typeKind: 'domain', baseType }), there)).toEqual([])
  })

  it('that is an enum by the header keeps its length', () => {
    expect(plan(gone('public.size', { typeKind: 'enum' }), 'character varying(256)')).toEqual([])
  })

  it.each(['integer', 'numeric(12,2)', 'date', 'timestamp with time zone', 'boolean'])(
    'of a type that nobody knows keeps %s',
    (there) => {
      expect(plan(gone('public.dom'), there)).toEqual([])
    },
  )

  it.each(['super', 'varbyte(100)'])('of a type that nobody knows cannot be written to %s', (there) => {
    expect(() => plan(gone('public.dom'), there)).toThrow(/"d" .*is of type/)
  })

  it('of a type that is known is not written to another one', () => {
    expect(() => plan(gone('text'), 'integer')).toThrow(/"d" .*is of type integer/)
  })
})
