import { LONG } from './comparison-columns.ts'
import type { RedshiftKind } from './redshift-type.ts'

/**
 * Whether two rows hold the same values, each given as a JSON list of texts. The two systems need not write a number or a
 * document with the same characters.
 */
export function sameValues(kinds: readonly RedshiftKind[], a: string, b: string): boolean {
  if (a === b) return true
  const [left, right] = [JSON.parse(a), JSON.parse(b)] as [(string | null)[], (string | null)[]]
  return kinds.every((kind, index) => sameValue(kind, left[index] ?? null, right[index] ?? null))
}

function sameValue(kind: RedshiftKind, a: string | null, b: string | null): boolean {
  if (a === b) return true
  if (kind === 'super') return sameDocument(a ?? 'null', b ?? 'null')
  if (a === null || b === null) return false
  switch (kind) {
    case 'real':
      return Number(a).toPrecision(6) === Number(b).toPrecision(6)
    case 'double precision':
      return Number(a).toPrecision(15) === Number(b).toPrecision(15)
    case 'numeric':
      return plainNumber(a, true) === plainNumber(b, true)
    default:
      return false
  }
}

/** Of a document that was too long to fetch nothing can be said but that it is there. */
function sameDocument(a: string, b: string): boolean {
  if (a === LONG || b === LONG) return a !== 'null' && b !== 'null'
  return plainDocument(a) === plainDocument(b)
}

function plainDocument(text: string): string {
  const revive = function (this: unknown, _key: string, value: unknown, context?: { source?: string }) {
    if (typeof value === 'number') return { n: plainNumber(context?.source ?? String(value)) }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
    // Wrapped, so that no document looks like a number does.
    return { o: Object.entries(value).sort(([x], [y]) => (x < y ? -1 : 1)) }
  }
  return JSON.stringify(JSON.parse(text, revive as Parameters<typeof JSON.parse>[1]))
}

/** Digits that a decimal number has in Redshift; what has more is floating point there, and good for 15. */
const EXACT_DIGITS = 38
const FLOAT_DIGITS = 15

/**
 * A decimal number in a form that all ways to write it share: its digits without outer zeros, and the place of the point.
 *
 * @param exact all digits count
 */
export function plainNumber(text: string, exact = false): string {
  const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(text.trim())
  if (!match) return text
  const [, sign, whole = '', fraction = '', exponent = '0'] = match
  const written = `${whole}${fraction}`
  const digits = written.replace(/^0+/, '').replace(/0+$/, '')
  if (digits === '') return '0'
  const point = Number(exponent) + whole.length - (written.length - written.replace(/^0+/, '').length)
  const isInteger = point >= digits.length && point <= EXACT_DIGITS
  const rounded =
    exact || digits.length <= FLOAT_DIGITS || isInteger ? { digits, point } : roundDigits(digits, point)
  return `${sign === '-' ? '-' : ''}.${rounded.digits}e${rounded.point}`
}

function roundDigits(digits: string, point: number): { digits: string; point: number } {
  const up = (digits[FLOAT_DIGITS] ?? '0') >= '5' ? 1n : 0n
  const rounded = (BigInt(digits.slice(0, FLOAT_DIGITS)) + up).toString()
  return { digits: rounded.replace(/0+$/, ''), point: point + (rounded.length - FLOAT_DIGITS) }
}
