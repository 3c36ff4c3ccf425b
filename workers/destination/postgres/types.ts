import type { Column } from '../../source/table.ts'
import { parseTypeName, type TypeName } from '../type-name.ts'

// Types whose text names things of the one database it was written in: another one may not have them.
const ONLY_AT_HOME = new Set([
  'aclitem',
  'pg_brin_bloom_summary',
  'pg_brin_minmax_multi_summary',
  'pg_dependencies',
  'pg_mcv_list',
  'pg_ndistinct',
  'pg_node_tree',
  'regclass',
  'regcollation',
  'regconfig',
  'regdictionary',
  'regnamespace',
  'regoper',
  'regoperator',
  'regproc',
  'regprocedure',
  'regrole',
  'regtype',
])

/** The types of a column that are worth asking the destination for; empty when every PostgreSQL has what it needs. */
export function typesToAsk(column: Column): string[] {
  return [column.type, column.baseType].filter((type) => !parseTypeName(type).builtIn)
}

/**
 * The destination's type of a column: the source's own where the destination has it. A domain becomes its base type. What
 * the destination lacks (enums, composites, types of extensions) becomes text, an array of it text[]: the text that
 * PostgreSQL writes for them is kept to the letter.
 *
 * @param known whether the destination has a type of that name
 */
export function destinationType(column: Column, known: (type: string) => boolean): string {
  return typeOrText(column.typeKind === 'domain' ? column.baseType : column.type, known)
}

/** Whether the type is text only because the destination knows nothing better: it may be a domain over anything. */
export function isStandIn(column: Column, known: (type: string) => boolean): boolean {
  const type = column.typeKind === 'domain' ? column.baseType : column.type
  return !parseTypeName(type).builtIn && !known(type)
}

function typeOrText(type: string, known: (type: string) => boolean): string {
  const parts = parseTypeName(type)
  const usable = parts.builtIn ? !ONLY_AT_HOME.has(parts.name) : known(type)
  if (usable) return type
  return parts.array ? 'text[]' : 'text'
}

/** How a column that is there stands to the type that is wanted. */
export type TypeFit = 'fits' | 'widen' | 'differs'

/**
 * - `fits`: every value of `wanted` can be stored in the column as it is
 * - `widen`: it can after the column has been altered to `wanted`, which keeps every value that is there
 * - `differs`: neither
 */
export function compareTypes(found: string, wanted: string): TypeFit {
  if (found === wanted) return 'fits'
  const there = parseTypeName(found)
  const asked = parseTypeName(wanted)
  if (there.name === 'text' && there.array === asked.array) return 'fits'
  if (isText(there) && !there.array) return 'fits'
  if (there.array !== asked.array) return 'differs'
  if (holds(there, asked) || sameButForm(there, asked)) return 'fits'
  // Such as citext, or an enum that somebody made for it: the server says which texts it takes.
  if (!there.builtIn && isText(asked)) return 'fits'
  return holds(asked, there) ? 'widen' : 'differs'
}

const DIGITS: Readonly<Record<string, number>> = { smallint: 5, integer: 10, bigint: 19 }
const FLOATS: Readonly<Record<string, number>> = { real: 1, 'double precision': 2 }
const STRINGS = new Set(['text', 'character varying', 'character', 'bpchar'])
const WITH_PRECISION = new Set([
  'timestamp without time zone',
  'timestamp with time zone',
  'time without time zone',
  'time with time zone',
])

function isText(type: TypeName): boolean {
  return type.name === 'text' || (type.name === 'character varying' && type.modifier.length === 0)
}

/** Whether `wide` stores every value of `narrow`; of arrays, every element. */
function holds(wide: TypeName, narrow: TypeName): boolean {
  if (wide.name === narrow.name && wide.modifierText === narrow.modifierText) return true
  if (DIGITS[wide.name] && DIGITS[narrow.name])
    return Number(DIGITS[wide.name]) >= Number(DIGITS[narrow.name])
  if (FLOATS[wide.name] && FLOATS[narrow.name])
    return Number(FLOATS[wide.name]) >= Number(FLOATS[narrow.name])
  if (wide.name === 'numeric') return holdsNumber(wide, narrow)
  if (STRINGS.has(wide.name) && STRINGS.has(narrow.name)) return holdsString(wide, narrow)
  if (wide.name !== narrow.name) return false
  if (wide.name === 'bit varying') return limit(wide) >= limit(narrow)
  // Without a modifier the precision is 6, the most there is.
  if (WITH_PRECISION.has(wide.name)) return (wide.modifier[0] ?? 6) >= (narrow.modifier[0] ?? 6)
  return false
}

function holdsNumber(wide: TypeName, narrow: TypeName): boolean {
  const integerDigits = DIGITS[narrow.name]
  if (narrow.name !== 'numeric' && integerDigits === undefined) return false
  const [precision, scale = 0] = wide.modifier
  if (precision === undefined) return true
  if (integerDigits !== undefined) return precision - scale >= integerDigits
  const [narrowPrecision, narrowScale = 0] = narrow.modifier
  if (narrowPrecision === undefined) return false
  return scale >= narrowScale && precision - scale >= narrowPrecision - narrowScale
}

// A character(n) is filled up with blanks, so only a longer one of its kind can take it in place of varying text.
function holdsString(wide: TypeName, narrow: TypeName): boolean {
  if (isPadded(wide) && !isPadded(narrow)) return false
  return limit(wide) >= limit(narrow)
}

function isPadded(type: TypeName): boolean {
  return type.name === 'character' || type.name === 'bpchar'
}

function limit(type: TypeName): number {
  if (type.name === 'character') return type.modifier[0] ?? 1
  return type.modifier[0] ?? Number.POSITIVE_INFINITY
}

// Whoever made the destination's column jsonb wants the document, not its spelling.
function sameButForm(there: TypeName, asked: TypeName): boolean {
  const documents = new Set(['json', 'jsonb'])
  return documents.has(there.name) && documents.has(asked.name)
}
