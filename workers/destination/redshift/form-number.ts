import { type Form, LOST, type Unfit } from './form.ts'
import { numeric, type RedshiftType } from './redshift-type.ts'

/** Redshift stores up to 19 digits in 64 bits, which do not hold all numbers of 19 digits; with 20 it takes 128. */
const HALF_FULL = 19
const MAX_DIGITS = 38
const MAX_SCALE = 37
/** Digits behind the point where the source sets no limit. */
const OPEN_SCALE = 18

/**
 * Type for a PostgreSQL numeric.
 *
 * @param modifier `[precision, scale]`; empty for one without limits
 */
export function numericType(modifier: readonly number[]): RedshiftType {
  const [precision, scale = 0] = modifier
  if (precision === undefined) return numeric(MAX_DIGITS, OPEN_SCALE)
  // A scale above the precision, or below zero, is PostgreSQL's alone.
  const behind = Math.max(scale, 0)
  const before = Math.max(precision - scale, 0)
  const digits = Math.max(before + behind, 1)
  if (digits <= MAX_DIGITS && behind <= MAX_SCALE)
    return numeric(digits === HALF_FULL ? HALF_FULL + 1 : digits, behind)
  return numeric(MAX_DIGITS, Math.min(behind, MAX_SCALE, Math.max(MAX_DIGITS - before, OPEN_SCALE)))
}

/**
 * Numbers with a decimal point. NaN, infinities and numbers with too many digits before the point have no near value; too many
 * digits behind it are rounded, half away from zero, as PostgreSQL does.
 *
 * @param modifier of the source's type: whether anything but NaN can be in the way
 */
export function numericForm(type: RedshiftType, modifier: readonly number[]): Form {
  const scale = type.scale ?? 0
  const before = (type.length ?? 18) - scale
  const [precision, declared = 0] = modifier
  const limited = precision !== undefined && declared <= scale && precision - declared <= before
  const limit = `'1e${before}'::numeric`
  return {
    type,
    fits: limited
      ? (x) => `${x} <> 'NaN'`
      : (x) => `${x} <> 'NaN' AND abs(${x}) < ${limit} AND trunc(${x}, ${scale}) = ${x}`,
    text: (x) => `${x}::text`,
    ...(!limited && {
      nearest: (x: string) =>
        `CASE WHEN ${x} <> 'NaN' AND abs(round(${x}, ${scale})) < ${limit} THEN round(${x}, ${scale})::text END`,
    }),
    scan: {
      doubt: limited
        ? (value) => `${value} = 'NaN'`
        : // NaN is larger than every number.
          (value) => `scale(${value}) > ${scale} OR ${value} >= ${limit} OR ${value} <= -${limit}`,
    },
    convert: (text) => convertNumber(text, before, scale),
  }
}

function convertNumber(text: string, before: number, scale: number): string | Unfit {
  const match = /^(-?)0*(\d*)(?:\.(\d+))?$/.exec(text)
  if (!match) return LOST
  const [, sign = '', whole = '', fraction = ''] = match
  const superfluous = fraction.slice(scale)
  if (/^0*$/.test(superfluous)) return whole.length <= before ? text : LOST
  const up = superfluous >= '5' ? 1n : 0n
  const rounded = BigInt(`${whole}${fraction.slice(0, scale)}` || '0') + up
  if (rounded >= 10n ** BigInt(before + scale)) return LOST
  const digits = rounded.toString().padStart(scale + 1, '0')
  const sized = scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`
  return { nearest: rounded === 0n ? sized : `${sign}${sized}` }
}

/**
 * Binary floating point. COPY is not known to read NaN and infinities, so they have no near value; what is nearer to zero than the
 * smallest number of Redshift is refused there, and zero is near.
 */
export function floatForm(kind: 'real' | 'double precision'): Form {
  const smallest = kind === 'real' ? '1.17549435e-38' : '1e-307'
  const finite = (x: string) => `abs(${x}::float8) < 'Infinity'::float8`
  return {
    type: { kind },
    fits: (x) => `(${x} = 0 OR abs(${x}::float8) >= ${smallest}::float8) AND ${finite(x)}`,
    text: (x) => `${x}::text`,
    nearest: (x) => `CASE WHEN ${finite(x)} THEN '0' END`,
    scan: {
      // What is true of most values comes first. NaN is larger than infinity.
      doubt: (value) =>
        `${value} >= 'Infinity'::float8 OR (${value} < ${smallest}::float8` +
        ` AND (${value} > -${smallest}::float8 AND ${value} <> 0 OR ${value} = '-Infinity'::float8))`,
    },
    convert: (text) => {
      const value = Number(text)
      if (!Number.isFinite(value)) return LOST
      return value === 0 || Math.abs(value) >= Number(smallest) ? text : { nearest: '0' }
    },
  }
}
