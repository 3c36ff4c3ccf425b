import { createHash } from 'node:crypto'
import type { DataType } from '../sql/ast.ts'
import { RedshiftError } from '../sql/errors.ts'
import { HOME, sqlName } from '../sql/names.ts'

/** Largest value of DECIMAL(19, …), which Redshift keeps in eight bytes. */
const MAX_INT64 = 9_223_372_036_854_775_807n

const FLOAT_LIMITS = {
  // Below, PostgreSQL 8 and Redshift call it an underflow.
  real: { min: '1.17549435e-38', max: '3.40282347e38' },
  double: { min: '2.2250738585072014e-308', max: '1.7976931348623157e308' },
} as const

/** The condition under which a value fits a column of Redshift and not just one of PostgreSQL. */
function condition(column: string, type: DataType): string | undefined {
  switch (type.kind) {
    case 'varchar':
    case 'varbyte':
      return `pg_catalog.octet_length(${column}) <= ${type.length}`
    case 'char':
      // Padded to n characters, so more bytes than n means that one of them is not ASCII.
      return `pg_catalog.octet_length(${column}) <= ${type.length}`
    case 'numeric': {
      const limit =
        type.length === 19 ? ` AND pg_catalog.abs(${column}) <= ${shifted(MAX_INT64, type.scale ?? 0)}` : ''
      return `${column} <> 'NaN'${limit}`
    }
    case 'real':
    case 'double': {
      const { min } = FLOAT_LIMITS[type.kind]
      return `${column} = 0 OR pg_catalog.abs(${column}) >= ${min} OR ${column} = 'NaN'`
    }
    case 'date':
      return `pg_catalog.isfinite(${column}) AND ${column} < '294277-01-01'`
    // PostgreSQL's time stamps end with the same year.
    case 'timestamp':
    case 'timestamptz':
      return `pg_catalog.isfinite(${column})`
    case 'time':
      return `${column} < '24:00:00'`
    case 'timetz':
      return `${column} < '24:00:00+00'`
    case 'super':
      return `${HOME}.super_fits(${column})`
    default:
      return undefined
  }
}

const shifted = (value: bigint, scale: number) => {
  const digits = value.toString().padStart(scale + 1, '0')
  return scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}

/** Name of the check of a column. It holds what the error message needs, because a check says no more than its name. */
export function checkName(column: string, type: DataType): string {
  const hash = createHash('sha256').update(column).digest('hex').slice(0, 12)
  return `redshift:${type.kind}:${type.length ?? 0}:${type.scale ?? 0}:${hash}`
}

/** `CONSTRAINT … CHECK (…)` of a column; empty when PostgreSQL's own type is as strict. */
export function checkClause(column: string, type: DataType): string {
  const check = condition(sqlName(column), type)
  return check === undefined ? '' : `CONSTRAINT "${checkName(column, type)}" CHECK (${check})`
}

/** The error of Redshift for a value that failed a check; undefined when the check is none of the emulator's. */
export function checkError(constraint: string): RedshiftError | undefined {
  const [mark, kind, length, scale] = constraint.split(':')
  if (mark !== 'redshift') return undefined
  switch (kind) {
    case 'varchar':
      return new RedshiftError('22001', `value too long for type character varying(${length})`)
    case 'varbyte':
      return new RedshiftError('22001', `value too long for type binary varying(${length})`)
    case 'char':
      return new RedshiftError('22021', 'CHAR string contains invalid ASCII character')
    case 'numeric':
      return new RedshiftError(
        '22003',
        `Numeric data overflow: the value does not fit numeric(${length},${scale})`,
      )
    case 'real':
    case 'double':
      return new RedshiftError(
        '22003',
        `value out of range: underflow of ${kind === 'real' ? 'real' : 'double precision'}`,
      )
    case 'date':
    case 'timestamp':
    case 'timestamptz':
      return new RedshiftError('22008', `${kind} out of range: neither infinity nor a year after 294276`)
    case 'time':
    case 'timetz':
      return new RedshiftError('22008', `date/time field value out of range: 24:00:00`)
    default:
      return new RedshiftError('22001', `value does not fit the type ${kind}`)
  }
}
