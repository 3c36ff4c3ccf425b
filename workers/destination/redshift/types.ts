import type { Column } from '../../source/table.ts'
import { parseTypeName, type TypeName } from '../type-name.ts'
import type { ElementForm } from './array-text.ts'
import { type Form, plain } from './form.ts'
import { binaryForm, hexForm } from './form-binary.ts'
import { arrayForm, jsonForm } from './form-json.ts'
import { floatForm, numericForm, numericType } from './form-number.ts'
import { outputText, textForm } from './form-text.ts'
import { dayForm, timeForm } from './form-time.ts'
import { MAX_VARCHAR, numeric, type RedshiftType, varchar } from './redshift-type.ts'

/** Where a value goes, beside its type. */
export interface Place {
  readonly modifier: readonly number[]
  /** The column belongs to the key: it is compared and sorted by, which SUPER and VARBYTE are not made for. */
  readonly key: boolean
  /** Bytes of a line that the column may take, see `lineShare`. */
  readonly share: number
}

/** One line of the mapping: types of PostgreSQL, and how their values get into Redshift. */
export interface TypeEntry {
  /** As `format_type()` writes them, without modifier. */
  readonly types: readonly string[]
  /** For people: the type in Redshift. */
  readonly redshift: string
  /** For people: which values do not fit; empty when all do. */
  readonly unfit: string
  /** For people: what `Truncate` makes of those. */
  readonly nearest: string
  /** For people: what else there is to know. */
  readonly note?: string
  form(place: Place): Form
}

/** COPY refuses a line of more than 4 MB. */
const MAX_LINE = 4_000_000

/** The mapping of every type. What is not listed is text. */
export const TYPES: readonly TypeEntry[] = [
  exact(['boolean'], { kind: 'boolean' }),
  exact(['smallint'], { kind: 'smallint' }),
  exact(['integer'], { kind: 'integer' }),
  exact(['bigint'], { kind: 'bigint' }),
  exact(['oid', 'xid', 'cid'], { kind: 'bigint' }),
  exact(['xid8'], numeric(20, 0)),
  {
    types: ['real'],
    redshift: 'REAL',
    unfit: 'NaN, infinities; nearer to zero than 1.17549435e-38',
    nearest: 'NULL for the former, else 0',
    form: () => floatForm('real'),
  },
  {
    types: ['double precision'],
    redshift: 'DOUBLE PRECISION',
    unfit: 'NaN, infinities; nearer to zero than 1e-307',
    nearest: 'NULL for the former, else 0',
    form: () => floatForm('double precision'),
  },
  {
    types: ['numeric'],
    redshift:
      'NUMERIC(p,s) of the same precision and scale up to 38 digits (NUMERIC(20,s) for 19); without limits NUMERIC(38,18); with more digits NUMERIC(38,s)',
    unfit: 'NaN, infinities; more digits than the column has, before or behind the point',
    nearest: 'rounded behind the point; NULL for the others',
    form: ({ modifier }) => numericForm(numericType(modifier), modifier),
  },
  exact(['money'], varchar(64), 'text, as PostgreSQL writes it in locale C'),
  {
    types: ['text', 'name'],
    redshift: 'VARCHAR(65535)',
    unfit: 'more than 65,535 bytes of UTF-8',
    nearest: 'cut after the last character that fits',
    form: () => textForm(),
  },
  {
    types: ['character varying'],
    redshift: 'VARCHAR(4n), at most VARCHAR(65535)',
    unfit: 'more than 65,535 bytes of UTF-8',
    nearest: 'cut after the last character that fits',
    note: 'four bytes for each character',
    form: ({ modifier }) => textForm(charactersToBytes(modifier[0]), undefined, mostBytes(modifier[0])),
  },
  {
    types: ['character', 'bpchar'],
    redshift: 'VARCHAR(4n), at most VARCHAR(65535)',
    unfit: 'more than 65,535 bytes of UTF-8',
    nearest: 'cut after the last character that fits',
    note: 'with its trailing blanks',
    form: ({ modifier }) => textForm(charactersToBytes(modifier[0]), outputText, mostBytes(modifier[0])),
  },
  exact(['"char"'], varchar(4)),
  {
    types: ['bytea'],
    redshift: 'VARBYTE(1024000)',
    unfit: 'no bytes at all; more than 1,024,000, less where a table has several such columns',
    nearest: 'the first bytes; NULL for none',
    note: 'in a key VARCHAR(65535), hexadecimal',
    form: ({ key, share }) => (key ? hexForm() : binaryForm(Math.floor(share / 2))),
  },
  {
    types: ['date'],
    redshift: 'DATE',
    unfit: 'infinities; years BC and after 9999',
    nearest: '0001-01-01 or 9999-12-31',
    form: () => dayForm('date'),
  },
  {
    types: ['timestamp without time zone'],
    redshift: 'TIMESTAMP',
    unfit: 'infinities; years BC and after 9999',
    nearest: '0001-01-01 00:00:00 or 9999-12-31 23:59:59.999999',
    form: () => dayForm('timestamp'),
  },
  {
    types: ['timestamp with time zone'],
    redshift: 'TIMESTAMPTZ',
    unfit: 'infinities; years BC and after 9999',
    nearest: '0001-01-01 00:00:00+00 or 9999-12-31 23:59:59.999999+00',
    form: () => dayForm('timestamptz'),
  },
  {
    types: ['time without time zone'],
    redshift: 'TIME',
    unfit: '24:00:00',
    nearest: '23:59:59.999999',
    form: () => timeForm(),
  },
  exact(['time with time zone'], varchar(32), 'text, because TIMETZ would lose the zone'),
  exact(['interval'], varchar(128), 'text, such as 1 year 2 mons 3 days 04:05:06'),
  exact(['uuid'], { kind: 'char', length: 36 }),
  {
    types: ['jsonb'],
    redshift: 'SUPER',
    unfit: 'documents too large for a line of 4 MB; a string of more than 65,535 bytes inside',
    nearest: 'NULL: half a document is none',
    note: 'in a key VARCHAR(65535)',
    form: ({ key, share }) => (key ? textForm(MAX_VARCHAR, outputText) : jsonForm(share, true)),
  },
  {
    types: ['json'],
    redshift: 'SUPER',
    unfit: 'as jsonb; the escapes \\u0000 and of half a surrogate pair',
    nearest: 'NULL: half a document is none',
    note: 'of keys that occur twice in an object Redshift decides',
    form: ({ share }) => jsonForm(share, false),
  },
  exact(['inet', 'cidr'], varchar(64)),
  exact(['macaddr', 'macaddr8'], varchar(32)),
  exact(['pg_lsn'], varchar(32)),
  exact(['int4range', 'int8range', 'daterange', 'tsrange', 'tstzrange'], varchar(256), 'text'),
  exact(['point', 'line', 'lseg', 'box', 'circle'], varchar(512), 'text'),
]

const ENUM: TypeEntry = exact(['enums'], varchar(256), 'the label')

const ARRAY: TypeEntry = {
  types: ['arrays'],
  redshift: 'SUPER',
  unfit: 'as jsonb',
  nearest: 'NULL',
  note: 'numbers and booleans as such, other elements as strings; lower bounds are lost; in a key VARCHAR(65535)',
  form: ({ key, share }) => (key ? textForm(MAX_VARCHAR, outputText) : arrayForm(share, 'text')),
}

const OTHER: TypeEntry = {
  types: [
    'composite types',
    'numrange, multiranges, ranges of other types',
    'bit, bit varying',
    'xml',
    'tsvector, tsquery',
    'path, polygon',
    'types of extensions, such as citext, hstore, geometry, vector',
    'everything else',
  ],
  redshift: 'VARCHAR(65535)',
  unfit: 'more than 65,535 bytes of UTF-8',
  nearest: 'cut after the last character that fits',
  note: "PostgreSQL's text of the value",
  form: () => textForm(MAX_VARCHAR, outputText),
}

/** The whole mapping, for the reference. */
export const MAPPING: readonly TypeEntry[] = [...TYPES, ENUM, ARRAY, OTHER]

const BY_NAME = new Map(TYPES.flatMap((entry) => entry.types.map((name) => [name, entry] as const)))

// The semicolon between boxes in PostgreSQL's text of an array is not one that an array of texts has.
const TEXT_ARRAYS = new Set(['box'])

/** What decides the form of a column's values. */
export interface TypeInfo {
  /** As `Column` has them. */
  readonly type: string
  readonly typeKind: 'base' | 'domain' | 'enum' | 'composite' | 'range' | 'array'
  readonly baseType: string
}

/** Form of a column's values. */
export function typeForm(info: TypeInfo, place: Omit<Place, 'modifier'>): Form {
  const name = parseTypeName(info.typeKind === 'domain' ? info.baseType : info.type)
  const at: Place = { ...place, modifier: name.modifier }
  if (name.array) {
    if (TEXT_ARRAYS.has(name.name)) return OTHER.form(at)
    return place.key ? ARRAY.form(at) : arrayForm(place.share, elementForm(name))
  }
  if (info.typeKind === 'enum') return ENUM.form(at)
  return ((name.builtIn ? BY_NAME.get(name.name) : undefined) ?? OTHER).form(at)
}

const NUMBERS = new Set(['smallint', 'integer', 'bigint', 'numeric', 'real', 'double precision'])

function elementForm({ name, builtIn }: TypeName): ElementForm {
  if (builtIn && NUMBERS.has(name)) return 'number'
  return builtIn && name === 'boolean' ? 'boolean' : 'text'
}

/**
 * How much of a line each large column (SUPER, VARBYTE) may take. COPY reads no longer ones, and what a value may be must not
 * depend on its neighbours; so the columns share it evenly, whatever is in them.
 */
export function lineShare(largeColumns: number): number {
  return Math.floor((MAX_LINE - 100_000) / Math.max(1, largeColumns))
}

/** Whether a column is text only because nobody knows its type any more: neither the source's catalog nor the queue's header. */
export function isStandIn({ type, typeKind, typeOid }: TypeInfo & Pick<Column, 'typeOid'>): boolean {
  return typeOid === 0 && typeKind === 'base' && !parseTypeName(type).builtIn
}

/** Whether a column may be large. */
export function isLarge(info: TypeInfo): boolean {
  const name = parseTypeName(info.typeKind === 'domain' ? info.baseType : info.type)
  return name.array || ['json', 'jsonb', 'bytea'].includes(name.name)
}

function mostBytes(characters: number | undefined): number {
  return characters === undefined ? Number.POSITIVE_INFINITY : 4 * characters
}

function charactersToBytes(characters: number | undefined): number {
  return characters === undefined ? MAX_VARCHAR : Math.min(MAX_VARCHAR, 4 * characters)
}

function exact(types: readonly string[], type: RedshiftType, note?: string): TypeEntry {
  const text =
    type.length === undefined
      ? type.kind
      : `${type.kind}(${[type.length, type.scale].filter((n) => n !== undefined).join(',')})`
  return {
    types,
    redshift: text.toUpperCase(),
    unfit: '',
    nearest: '',
    ...(note !== undefined && { note }),
    form: () => plain(type),
  }
}
