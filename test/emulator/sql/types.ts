import type { DataType } from './ast.ts'
import type { Cursor } from './cursor.ts'
import { RedshiftError, UnknownToEmulator } from './errors.ts'

export const MAX_VARCHAR = 65_535
export const MAX_CHAR = 4_096
export const MAX_VARBYTE = 16_777_216
const DEFAULT_VARCHAR = 256
const DEFAULT_VARBYTE = 64_000

/** Types without a length, under all of their names. */
const PLAIN: Record<string, DataType> = {
  smallint: { kind: 'smallint' },
  int2: { kind: 'smallint' },
  integer: { kind: 'integer' },
  int: { kind: 'integer' },
  int4: { kind: 'integer' },
  bigint: { kind: 'bigint' },
  int8: { kind: 'bigint' },
  real: { kind: 'real' },
  float4: { kind: 'real' },
  float8: { kind: 'double' },
  boolean: { kind: 'boolean' },
  bool: { kind: 'boolean' },
  date: { kind: 'date' },
  timetz: { kind: 'timetz' },
  timestamptz: { kind: 'timestamptz' },
  super: { kind: 'super' },
}

/** What PostgreSQL has and Redshift refuses as a column's type. */
const UNSUPPORTED = new Set(
  `bytea json jsonb uuid xml inet cidr macaddr money bit hstore tsvector tsquery interval serial bigserial smallserial
   point line lseg box path polygon circle oid int4range int8range numrange daterange tsrange tstzrange`.split(
    /\s+/,
  ),
)

/** Parses a type name with its length. */
export function parseType(c: Cursor): DataType {
  const token = c.peek()
  if (token.kind !== 'word') c.fail()
  const word = c.next().value
  const type = parseNamed(c, word)
  if (c.at('['))
    throw new RedshiftError(
      '0A000',
      `column type "${word}[]" is not supported: Redshift has no arrays but SUPER`,
    )
  return type
}

function parseNamed(c: Cursor, word: string): DataType {
  const plain = PLAIN[word]
  if (plain) return plain
  switch (word) {
    case 'varchar':
    case 'nvarchar':
      return varchar(c)
    case 'character':
    case 'char':
    case 'nchar':
      return c.accept('varying') ? varchar(c) : char(c)
    case 'text':
      return { kind: 'varchar', length: DEFAULT_VARCHAR }
    case 'bpchar':
      return { kind: 'char', length: 256 }
    case 'varbyte':
    case 'varbinary':
      return varbyte(c)
    case 'binary':
      c.expect('varying')
      return varbyte(c)
    case 'numeric':
    case 'decimal':
      return numeric(c)
    case 'double':
      c.expect('precision')
      return { kind: 'double' }
    case 'float':
      return float(c)
    case 'time':
      return zoned(c, 'time', 'timetz')
    case 'timestamp':
      return zoned(c, 'timestamp', 'timestamptz')
    case 'geometry':
    case 'geography':
    case 'hllsketch':
      throw new UnknownToEmulator(`the type ${word}`)
    default:
      throw UNSUPPORTED.has(word)
        ? new RedshiftError('0A000', `column type "${word}" is not supported in Redshift`)
        : new RedshiftError('42704', `type "${word}" does not exist`)
  }
}

function zoned(c: Cursor, without: 'time' | 'timestamp', withZone: 'timetz' | 'timestamptz'): DataType {
  if (c.at('(')) throw new UnknownToEmulator(`a precision of the type ${without}`)
  if (c.accept('with', 'time', 'zone')) return { kind: withZone }
  c.accept('without', 'time', 'zone')
  return { kind: without }
}

/** `(n)` or `(max)`; undefined when nothing is there. */
function lengthOf(c: Cursor, max: number): number | undefined {
  if (!c.accept('(')) return undefined
  const length = c.accept('max') ? max : c.integer()
  c.expect(')')
  return length
}

function limited(name: string, length: number, max: number): number {
  if (length < 1) throw new RedshiftError('22023', `length for type ${name} must be at least 1`)
  if (length > max) throw new RedshiftError('22023', `length for type ${name} cannot exceed ${max}`)
  return length
}

function varchar(c: Cursor): DataType {
  const length = limited('varchar', lengthOf(c, MAX_VARCHAR) ?? DEFAULT_VARCHAR, MAX_VARCHAR)
  return { kind: 'varchar', length }
}

function char(c: Cursor): DataType {
  return { kind: 'char', length: limited('char', lengthOf(c, MAX_CHAR) ?? 1, MAX_CHAR) }
}

function varbyte(c: Cursor): DataType {
  const length = limited('varbyte', lengthOf(c, MAX_VARBYTE) ?? DEFAULT_VARBYTE, MAX_VARBYTE)
  return { kind: 'varbyte', length }
}

function numeric(c: Cursor): DataType {
  if (!c.accept('(')) return { kind: 'numeric', length: 18, scale: 0 }
  const length = c.integer()
  const scale = c.accept(',') ? c.integer() : 0
  c.expect(')')
  if (length < 1 || length > 38)
    throw new RedshiftError('22023', `NUMERIC precision ${length} must be between 1 and 38`)
  if (scale > length) {
    throw new RedshiftError('22023', `NUMERIC scale ${scale} must be between 0 and precision ${length}`)
  }
  if (scale > 37) throw new RedshiftError('22023', `NUMERIC scale ${scale} must be between 0 and 37`)
  return { kind: 'numeric', length, scale }
}

function float(c: Cursor): DataType {
  if (!c.accept('(')) return { kind: 'double' }
  const bits = c.integer()
  c.expect(')')
  if (bits < 1 || bits > 53)
    throw new RedshiftError('22023', `precision for type float must be between 1 and 53`)
  return { kind: bits <= 24 ? 'real' : 'double' }
}

/** The type as SVV_COLUMNS and error messages name it. */
export function typeName(type: DataType): string {
  switch (type.kind) {
    case 'varchar':
      return `character varying(${type.length})`
    case 'char':
      return `character(${type.length})`
    case 'numeric':
      return `numeric(${type.length},${type.scale})`
    case 'varbyte':
      return `binary varying(${type.length})`
    default:
      return bareTypeName(type.kind)
  }
}

const BARE: Record<DataType['kind'], string> = {
  smallint: 'smallint',
  integer: 'integer',
  bigint: 'bigint',
  numeric: 'numeric',
  real: 'real',
  double: 'double precision',
  boolean: 'boolean',
  char: 'character',
  varchar: 'character varying',
  date: 'date',
  time: 'time without time zone',
  timetz: 'time with time zone',
  timestamp: 'timestamp without time zone',
  timestamptz: 'timestamp with time zone',
  super: 'super',
  varbyte: 'binary varying',
}

/** The type without its length. */
export const bareTypeName = (kind: DataType['kind']) => BARE[kind]

export const sameType = (a: DataType, b: DataType) =>
  a.kind === b.kind && a.length === b.length && a.scale === b.scale
