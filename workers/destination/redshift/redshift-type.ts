/** A column type of Redshift. */
export interface RedshiftType {
  readonly kind: RedshiftKind
  /** Bytes of CHAR, VARCHAR and VARBYTE; digits of NUMERIC. */
  readonly length?: number
  readonly scale?: number
}

export type RedshiftKind =
  | 'boolean'
  | 'smallint'
  | 'integer'
  | 'bigint'
  | 'real'
  | 'double precision'
  | 'numeric'
  | 'char'
  | 'varchar'
  | 'varbyte'
  | 'date'
  | 'time'
  | 'timetz'
  | 'timestamp'
  | 'timestamptz'
  | 'super'

export const MAX_VARCHAR = 65_535
/** Older clusters end here, newer ones at 16,777,216; a row of a file that COPY reads must not be over 4 MB anyway. */
export const MAX_VARBYTE = 1_024_000

export const varchar = (length = MAX_VARCHAR): RedshiftType => ({ kind: 'varchar', length })
export const numeric = (length: number, scale: number): RedshiftType => ({ kind: 'numeric', length, scale })

/** As SQL. */
export function typeText({ kind, length, scale }: RedshiftType): string {
  const name = kind.toUpperCase()
  if (kind === 'numeric') return `${name}(${length},${scale})`
  return length === undefined ? name : `${name}(${length})`
}

const NAMES: Readonly<Record<string, RedshiftKind>> = {
  boolean: 'boolean',
  bool: 'boolean',
  smallint: 'smallint',
  int2: 'smallint',
  integer: 'integer',
  int4: 'integer',
  bigint: 'bigint',
  int8: 'bigint',
  real: 'real',
  float4: 'real',
  'double precision': 'double precision',
  float8: 'double precision',
  numeric: 'numeric',
  decimal: 'numeric',
  character: 'char',
  char: 'char',
  bpchar: 'char',
  'character varying': 'varchar',
  varchar: 'varchar',
  'binary varying': 'varbyte',
  varbyte: 'varbyte',
  date: 'date',
  time: 'time',
  'time without time zone': 'time',
  timetz: 'timetz',
  'time with time zone': 'timetz',
  timestamp: 'timestamp',
  'timestamp without time zone': 'timestamp',
  timestamptz: 'timestamptz',
  'timestamp with time zone': 'timestamptz',
  super: 'super',
}

/** Reads a type as the catalog, or a person, writes it. Undefined when it is none that is known here. */
export function parseType(text: string): RedshiftType | undefined {
  const match = /^\s*([a-z ]+?)\s*(?:\(\s*(\d+|max)\s*(?:,\s*(\d+)\s*)?\))?\s*$/i.exec(text)
  const kind = match && NAMES[match[1]?.toLowerCase() ?? '']
  if (!match || !kind) return undefined
  const length = match[2] === undefined ? undefined : match[2] === 'max' ? MAX_VARCHAR : Number(match[2])
  if (kind === 'numeric') return { kind, length: length ?? 18, scale: Number(match[3] ?? 0) }
  return length === undefined ? { kind } : { kind, length }
}

/** How a column that is there stands to the type that is wanted. */
export type TypeFit =
  /** Every value of `wanted` can be stored as it is. */
  | 'fits'
  /** `ALTER COLUMN … TYPE` makes it fit; Redshift does that for VARCHAR only. */
  | 'lengthen'
  /** A new column that takes over every value makes it fit. */
  | 'replace'
  | 'differs'

export function compareTypes(found: RedshiftType, wanted: RedshiftType): TypeFit {
  const lengthUnknown = found.length === undefined
  if (found.kind === 'varchar') {
    const room = found.length ?? MAX_VARCHAR
    if (room >= widthOf(wanted)) return 'fits'
    return wanted.kind === 'varchar' ? 'lengthen' : 'differs'
  }
  if (found.kind === wanted.kind) {
    switch (found.kind) {
      case 'char':
        return lengthUnknown || (found.length ?? 0) >= (wanted.length ?? 0) ? 'fits' : 'replace'
      case 'varbyte':
        return lengthUnknown || (found.length ?? 0) >= (wanted.length ?? 0) ? 'fits' : 'replace'
      case 'numeric':
        return holdsDigits(found, wanted) ? 'fits' : holdsDigits(wanted, found) ? 'replace' : 'differs'
      default:
        return 'fits'
    }
  }
  if (holdsOtherKind(found, wanted)) return 'fits'
  return holdsOtherKind(wanted, found) ? 'replace' : 'differs'
}

const DIGITS: Partial<Record<RedshiftKind, number>> = { smallint: 5, integer: 10, bigint: 19 }

function holdsOtherKind(wide: RedshiftType, narrow: RedshiftType): boolean {
  const [more, less] = [DIGITS[wide.kind], DIGITS[narrow.kind]]
  if (more !== undefined && less !== undefined) return more >= less
  if (wide.kind === 'numeric' && less !== undefined) return (wide.length ?? 0) - (wide.scale ?? 0) >= less
  if (wide.kind === 'double precision') return narrow.kind === 'real'
  return wide.kind === 'varchar' && narrow.kind === 'char' && (wide.length ?? 0) >= (narrow.length ?? 0)
}

function holdsDigits(wide: RedshiftType, narrow: RedshiftType): boolean {
  const whole = (type: RedshiftType) => (type.length ?? 18) - (type.scale ?? 0)
  return whole(wide) >= whole(narrow) && (wide.scale ?? 0) >= (narrow.scale ?? 0)
}

/** Bytes that the text of any value of a type may take. */
function widthOf({ kind, length, scale }: RedshiftType): number {
  switch (kind) {
    case 'varchar':
    case 'char':
      return length ?? MAX_VARCHAR
    case 'varbyte':
      return 2 * (length ?? MAX_VARBYTE)
    case 'numeric':
      return (length ?? 38) + (scale ? 3 : 1)
    case 'super':
      return Number.POSITIVE_INFINITY
    default:
      return 32
  }
}
