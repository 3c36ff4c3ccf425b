import { describe, expect, it } from 'vitest'
import type { Column, TableDefinition } from '../../source/table.ts'
import type { TargetColumn, TargetTable } from './catalog.ts'
import { planTable, type TablePlanInput } from './table-plan.ts'

const target = { schema: 'public', name: 't' }

function source(name: string, type: string, more: Partial<Column> = {}): Column {
  return {
    name,
    type,
    typeKind: 'base',
    baseType: type,
    typeOid: 0,
    typeModifier: -1,
    notNull: false,
    ...more,
  }
}

function define(columns: Column[], key: string[] = ['id']): TableDefinition {
  return { ...target, oid: 1, columns, key, replicaIdentity: 'default', partitioned: false }
}

function there(name: string, type: string, more: Partial<TargetColumn> = {}): TargetColumn {
  return {
    name,
    type,
    baseType: type,
    castType: type,
    notNull: false,
    hasDefault: false,
    generated: false,
    alwaysIdentity: false,
    equals: '=',
    ...more,
  }
}

function existing(columns: TargetColumn[], more: Partial<TargetTable> = {}): TargetTable {
  return {
    name: target,
    oid: '1',
    kind: 'table',
    columns,
    primaryKey: { constraint: 't_pkey', columns: ['id'] },
    uniqueKeys: [['id']],
    fingerprint: 'f',
    ...more,
  }
}

const id = source('id', 'bigint', { notNull: true })
const idThere = there('id', 'bigint', { notNull: true })

function plan(input: Partial<TablePlanInput>) {
  return planTable({
    target,
    found: undefined,
    definition: define([id]),
    options: { deletes: 'Hard' },
    empty: false,
    known: () => false,
    literal: (text) => `'${text}'`,
    ...input,
  }).statements
}

describe('a table that is not there', () => {
  it('is created with key and NOT NULLs', () => {
    const definition = define([id, source('select', 'text', { notNull: true }), source('We "ird', 'jsonb')])
    expect(plan({ definition })).toEqual([
      `CREATE TABLE "public"."t" (
  "id" bigint NOT NULL,
  "select" text NOT NULL,
  "We ""ird" jsonb,
  PRIMARY KEY ("id")
)`,
    ])
  })

  it('has the key in its order', () => {
    const definition = define([source('a', 'text'), source('b', 'text')], ['b', 'a'])
    expect(plan({ definition })[0]).toContain(
      '"a" text NOT NULL,\n  "b" text NOT NULL,\n  PRIMARY KEY ("b", "a")',
    )
  })

  it('gets the column of soft deletes', () => {
    expect(plan({ options: { deletes: 'Soft' } })[0]).toContain(
      '"__millrace_deleted" boolean NOT NULL DEFAULT false',
    )
  })

  it('is refused with soft deletes when the source has a column of that name', () => {
    const definition = define([id, source('__millrace_deleted', 'boolean')])
    expect(plan({ definition })).toHaveLength(1)
    expect(() => plan({ definition, options: { deletes: 'Soft' } })).toThrow(/rename it/)
  })

  it('may have no key', () => {
    expect(plan({ definition: define([source('a', 'text')], []) })).toEqual([
      'CREATE TABLE "public"."t" (\n  "a" text\n)',
    ])
  })
})

describe('a table that is there', () => {
  const alter = (...commands: string[]) => `ALTER TABLE "public"."t"\n  ${commands.join(',\n  ')}`
  const cases: [string, Partial<TablePlanInput>, string[]][] = [
    ['is as it should be', { found: existing([idThere]) }, []],
    [
      'gets a column; what its default put into the rows there is put there too, and nothing stays behind',
      {
        definition: define([
          id,
          source('n', 'integer', { notNull: true, constantDefault: '7' }),
          source('m', 'text'),
        ]),
        found: existing([idThere]),
      },
      [
        alter(`ADD COLUMN "n" integer DEFAULT '7'::integer NOT NULL`, 'ADD COLUMN "m" text'),
        alter('ALTER COLUMN "n" DROP DEFAULT'),
      ],
    ],
    [
      'cannot take over NOT NULL where rows without a value are',
      { definition: define([id, source('n', 'integer', { notNull: true })]), found: existing([idThere]) },
      [alter('ADD COLUMN "n" integer')],
    ],
    [
      'takes it over while it is empty',
      {
        definition: define([id, source('n', 'integer', { notNull: true })]),
        found: existing([idThere]),
        empty: true,
      },
      [alter('ADD COLUMN "n" integer NOT NULL')],
    ],
    [
      'is widened',
      {
        definition: define([id, source('v', 'text'), source('n', 'numeric(12,2)')]),
        found: existing([idThere, there('v', 'character varying(10)'), there('n', 'numeric(10,2)')]),
      },
      [alter('ALTER COLUMN "v" TYPE text', 'ALTER COLUMN "n" TYPE numeric(12,2)')],
    ],
    ['keeps what is wider', { found: existing([there('id', 'numeric', { notNull: true })]) }, []],
    [
      'stays when the source’s type is not known here, until it is empty',
      {
        definition: define([id, source('m', 'public.mood', { typeKind: 'enum' })]),
        found: existing([idThere, there('m', 'integer')]),
      },
      [],
    ],
    [
      'takes text for a type that is not known here while it is empty',
      {
        definition: define([id, source('m', 'public.mood', { typeKind: 'enum' })]),
        found: existing([idThere, there('m', 'integer')]),
        empty: true,
      },
      [alter('ALTER COLUMN "m" DROP DEFAULT', 'ALTER COLUMN "m" TYPE text USING NULL::text')],
    ],
    [
      'takes a domain for what is behind it',
      { found: existing([there('id', 'public.d', { baseType: 'bigint' })]) },
      [],
    ],
    [
      'changes any type while it is empty',
      {
        definition: define([id, source('v', 'integer')]),
        found: existing([idThere, there('v', 'timestamp with time zone')]),
        empty: true,
      },
      [alter('ALTER COLUMN "v" DROP DEFAULT', 'ALTER COLUMN "v" TYPE integer USING NULL::integer')],
    ],
    [
      'keeps a dropped column, which no longer insists on a value',
      { found: existing([idThere, there('gone', 'text', { notNull: true })]) },
      [alter('ALTER COLUMN "gone" DROP NOT NULL')],
    ],
    [
      'leaves columns alone that fill themselves',
      {
        found: existing([
          idThere,
          there('at', 'timestamp with time zone', { notNull: true, hasDefault: true }),
          there('up', 'text', { notNull: true, generated: true }),
        ]),
      },
      [],
    ],
    [
      'takes values for an identity of its own',
      { found: existing([there('id', 'bigint', { notNull: true, hasDefault: true, alwaysIdentity: true })]) },
      [alter('ALTER COLUMN "id" SET GENERATED BY DEFAULT')],
    ],
    [
      'gets a primary key',
      { found: existing([idThere], { primaryKey: undefined, uniqueKeys: [] }) },
      ['ALTER TABLE "public"."t" ADD PRIMARY KEY ("id")'],
    ],
    ['is content with a unique index', { found: existing([idThere], { primaryKey: undefined }) }, []],
    [
      'gets a new key when the source has another',
      {
        definition: define([id, source('b', 'text', { notNull: true })], ['id', 'b']),
        found: existing([idThere, there('b', 'text', { notNull: true })]),
      },
      [alter('DROP CONSTRAINT "t_pkey"'), 'ALTER TABLE "public"."t" ADD PRIMARY KEY ("id", "b")'],
    ],
    [
      'keeps a wider key of its own, which refuses nothing, and can be searched by it',
      {
        found: existing([idThere, there('day', 'date', { notNull: true, hasDefault: true })], {
          primaryKey: { constraint: 't_pkey', columns: ['id', 'day'] },
          uniqueKeys: [['id', 'day']],
        }),
      },
      [],
    ],
    [
      'keeps a wider key that cannot be searched by it, and gets an index',
      {
        definition: define([id, source('day', 'date')]),
        found: existing([idThere, there('day', 'date', { notNull: true })], {
          primaryKey: { constraint: 't_pkey', columns: ['day', 'id'] },
          uniqueKeys: [['day', 'id']],
        }),
      },
      ['CREATE UNIQUE INDEX ON "public"."t" ("id")'],
    ],
    [
      'loses its key when the source has none any more',
      { definition: define([id], []), found: existing([idThere]) },
      [alter('DROP CONSTRAINT "t_pkey"')],
    ],
    [
      'loses a key with a column that the source has dropped',
      {
        found: existing([idThere, there('b', 'text', { notNull: true })], {
          primaryKey: { constraint: 'p', columns: ['id', 'b'] },
          uniqueKeys: [['id', 'b']],
        }),
      },
      [
        alter('DROP CONSTRAINT "p"', 'ALTER COLUMN "b" DROP NOT NULL'),
        'ALTER TABLE "public"."t" ADD PRIMARY KEY ("id")',
      ],
    ],
    [
      'gets the column of soft deletes',
      { found: existing([idThere]), options: { deletes: 'Soft' } },
      [alter('ADD COLUMN "__millrace_deleted" boolean NOT NULL DEFAULT false')],
    ],
    [
      'keeps the column of soft deletes',
      {
        found: existing([
          idThere,
          there('__millrace_deleted', 'boolean', { notNull: true, hasDefault: true }),
        ]),
      },
      [],
    ],
  ]
  it.each(cases)('%s', (_name, input, statements) => {
    expect(plan(input)).toEqual(statements)
  })

  it.each([
    [
      { definition: define([id, source('v', 'integer')]), found: existing([idThere, there('v', 'uuid')]) },
      'SchemaChangeUnsupported',
      /"v".*public\.t.*uuid.*integer/,
    ],
    [{ found: existing([], { kind: 'other' }) }, 'DestinationConflict', /view/],
    [
      { found: existing([there('id', 'bigint', { generated: true })]) },
      'DestinationConflict',
      /"id".*generated/,
    ],
  ] as [Partial<TablePlanInput>, string, RegExp][])('refuses %#', (input, code, message) => {
    expect(() => plan(input)).toThrow(message)
    expect(() => plan(input)).toThrow(expect.objectContaining({ code }))
  })
})
