import type { Random } from '../../torture/random.ts'
import { between } from '../random.ts'
import { OWN } from './own-types.ts'
import type { FuzzType } from './type.ts'
import { BUILT_IN } from './types.ts'

const ALL = [...BUILT_IN, ...OWN]

/** There are no arrays of vectors, and domains over arrays have other brackets. */
const ELEMENTS = ALL.filter(({ sql }) => !/vector|d_arr/.test(sql))

/** Types of keys that are more often wrong than others: they compare otherwise than their text does. */
const DELICATE = ALL.filter(
  ({ key, sql }) =>
    key &&
    /numeric$|^text|citext|character|bpchar|interval$|double|real|mood|timestamptz$|comp|range|uuid|bool|bytea/.test(
      sql,
    ),
)

/** Elements are cut, so that an array of a key still fits into an index. */
const LONGEST_ELEMENT = 50

/** Any type, and arrays of any. */
export function anyType(random: Random): FuzzType {
  const way = random.below(100)
  if (way < 55) return random.pick(BUILT_IN)
  if (way < 75) return random.pick(OWN)
  return arrayOf(random.pick(ELEMENTS))
}

/** A type that a key can have. */
export function keyType(random: Random): FuzzType {
  for (;;) {
    const type = random.chance(0.35) ? random.pick(DELICATE) : anyType(random)
    if (type.key) return type
  }
}

/** Arrays of a type: empty, with NULLs, of several dimensions, with other bounds than from 1. */
export function arrayOf(type: FuzzType): FuzzType {
  const delimiter = type.delimiter ?? ','
  const cuttable = type.large === true && !/^json|bytea/.test(type.sql)
  const element = (random: Random): string => {
    if (random.chance(0.15)) return 'NULL'
    const text = type.generate && random.chance(0.3) ? type.generate(random) : random.pick(type.pool)
    const short = cuttable ? [...text].slice(0, LONGEST_ELEMENT).join('') : text
    return `"${short.replaceAll(/["\\]/g, '\\$&')}"`
  }
  return {
    sql: `${type.sql}[]`,
    pool: ['{}'],
    key: type.key === true,
    large: true,
    ...(type.collation && { collation: type.collation }),
    generate(random) {
      const list = (count: number) => Array.from({ length: count }, () => element(random)).join(delimiter)
      switch (random.below(10)) {
        case 0:
          return '{}'
        case 1:
        case 2:
        case 3:
        case 4:
          return `{${list(between(random, 1, 4))}}`
        case 5:
        case 6:
          return `{{${list(2)}}${delimiter}{${list(2)}}}`
        case 7:
          return `{{{${list(1)}}}${delimiter}{{${list(1)}}}}`
        case 8:
          return `[-5:-4]={${list(2)}}`
        default:
          return `[2:3][0:0]={{${list(1)}}${delimiter}{${list(1)}}}`
      }
    },
  }
}
