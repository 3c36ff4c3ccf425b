import { describe, expect, it } from 'vitest'
import { createRandom } from '../torture/random.ts'
import { differenceOf } from './compare.ts'
import { HARMLESS } from './ddl/harmless.ts'
import { HARMFUL } from './ddl/script.ts'
import { expression } from './ddl/writes.ts'
import { describeOutcome, describeTotal, type FuzzOutcome, fuzzSettings } from './report.ts'
import { anyChange } from './schemas/changes.ts'
import { arrayOf } from './schemas/choose-type.ts'
import { OWN } from './schemas/own-types.ts'
import { anyValue } from './schemas/table.ts'
import { randomTable } from './schemas/tables.ts'
import { BUILT_IN } from './schemas/types.ts'

const tablesOf = (seed: string) => {
  const used = new Set<string>()
  const random = createRandom(seed)
  return Array.from({ length: 60 }, (_, at) => randomTable(random.fork(String(at)), at, used))
}

describe('the comparison', () => {
  it('takes rows in any order, each as often as it is there', () => {
    expect(differenceOf(['a', 'b', 'a'], ['a', 'a', 'b'])).toBeUndefined()
    expect(differenceOf(['a', 'a'], ['a'])).toBe(
      '1 of 2 rows are missing, 0 are there that should not be: missing a',
    )
    expect(differenceOf(['a', 'b'], ['a', 'c', 'c'])).toBe(
      '1 of 2 rows are missing, 2 are there that should not be: missing b; extra c',
    )
  })
})

describe('random tables', () => {
  it('are decided by their seed, and so is what is written into them', () => {
    const changes = (seed: string) => {
      const random = createRandom(seed)
      return tablesOf(seed).flatMap((table) => Array.from({ length: 20 }, () => anyChange(random, table)))
    }
    const ddl = (seed: string) => tablesOf(seed).map((table) => table.ddl)
    expect(ddl('7')).toEqual(ddl('7'))
    expect(changes('7')).toEqual(changes('7'))
    expect(changes('7')).not.toEqual(changes('8'))
  })

  it('have names of their own, that PostgreSQL would not cut', () => {
    const names = tablesOf('7').map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    for (const name of names) expect(Buffer.byteLength(name)).toBeLessThanOrEqual(63)
  })

  it('have columns of every type in the end', () => {
    const seen = new Set(
      Array.from({ length: 30 }, (_, seed) => tablesOf(String(seed))).flatMap((tables) =>
        tables.flatMap(({ columns }) => columns.map(({ type }) => type.sql)),
      ),
    )
    for (const { sql } of [...BUILT_IN, ...OWN]) expect(seen).toContain(sql)
  })
})

describe('values', () => {
  it('are never NULL where a column forbids it, and sometimes elsewhere', () => {
    const random = createRandom('values')
    for (const type of [...BUILT_IN, ...OWN].flatMap((one) => [one, arrayOf(one)])) {
      const values = (notNull: boolean) =>
        Array.from({ length: 100 }, () => anyValue(random, { name: 'c', type, notNull, key: false }))
      expect(values(true)).not.toContain(null)
      expect(values(false)).toContain(null)
    }
  })

  it('of columns that a script has made fit their types', () => {
    const random = createRandom('expressions')
    const column = {
      name: 'c',
      type: 'character varying(3)',
      generated: false,
      identity: false,
      notNull: true,
      labels: null,
      key: false,
    }
    expect(expression(random, column)).toMatch(/^'x\d{1,2}'$/)
    expect(expression(random, { ...column, type: 't00_e', labels: [`it's`] })).toBe(`'it''s'`)
    expect(expression(random, { ...column, type: 'integer[]' })).toMatch(/^'\{\d+,\d+\}'$/)
  })
})

it('no step is both harmless and not', () => {
  expect(Object.keys(HARMLESS).filter((name) => name in HARMFUL)).toEqual([])
})

describe('the report', () => {
  const outcome: FuzzOutcome = {
    kind: 'ddl',
    seed: 7,
    tables: 3,
    statements: 40,
    differences: [{ table: 't00 (plain)', what: '1 of 2 rows are missing', script: ['0.10 begin;'] }],
    falseAlarms: 0,
    summary: '3 tables',
  }

  it('names each difference, how it came about, and what repeats it', () => {
    expect(describeOutcome(outcome)).toEqual([
      'DIFFERENT ddl seed 7: 3 tables',
      '  t00 (plain): 1 of 2 rows are missing',
      '      0.10 begin;',
      '    repeat with: make fuzz SEED=7 KIND=ddl',
    ])
    expect(describeTotal([outcome, { ...outcome, differences: [] }])).toBe(
      'fuzz: tables=6 statements=80 differences=1',
    )
  })

  it('is about the runs that were asked for', () => {
    expect(fuzzSettings({})).toEqual({ seeds: [1, 2], kinds: ['schemas', 'ddl'], tables: undefined })
    expect(fuzzSettings({ SEED: '9', KIND: 'ddl', TABLES: '4' })).toEqual({
      seeds: [9],
      kinds: ['ddl'],
      tables: 4,
    })
    expect(fuzzSettings({ SEED: '9', SEEDS: '2' }).seeds).toEqual([9, 10])
    expect(() => fuzzSettings({ KIND: 'other' })).toThrow('KIND is schemas or ddl, not other')
    expect(() => fuzzSettings({ SEED: 'x' })).toThrow('SEED must be a whole number, not x')
  })
})
