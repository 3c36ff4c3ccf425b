import type { Random } from '../../torture/random.ts'
import { between, noise } from '../random.ts'

// Values that systems get wrong, in the text form of their types. Between two of them stands ¦.

const list = (text: string): readonly string[] => text.split('¦')

export const TEXTS: readonly string[] = [
  ...list(`¦ ¦a¦A¦á¦a ¦NULL¦null¦\\N¦\\.¦\\¦"¦'¦{}¦{¦,¦$1¦(a,b)¦\\x41¦E'\\n'¦0¦é¦ß¦SS¦ss¦İ¦i¦😀`),
  ...list(`\t¦\n¦\r\n¦\u0001¦\u007f¦\u2028¦e\u0301¦\ufeff¦\ud7ff¦\uffff¦\u{10ffff}¦$\u007bx}`),
]

export const NUMERICS = list(
  '0¦-0¦0.0¦1¦1.0¦1.00¦1.000¦-1¦-1.0¦2¦2.50¦2.5¦NaN¦Infinity¦-Infinity¦1e100¦1e-100¦1e1000¦-1e-16000¦0.1¦0.10¦99999999999999999999999999999999.000000000001¦123456789012345678901234567890',
)

export const DOUBLES = list(
  '0¦-0¦NaN¦Infinity¦-Infinity¦1¦0.1¦1e300¦5e-324¦2.2250738585072014e-308¦1.7976931348623157e308¦-5e-324¦0.30000000000000004¦123456789.123456789¦1e22¦1e21¦9007199254740993',
)

export const REALS = list('0¦-0¦NaN¦Infinity¦-Infinity¦1¦0.1¦1e-45¦3.4028235e38¦16777217¦0.3¦1.17549435e-38')

export const DATES = list(
  'infinity¦-infinity¦4713-01-01 BC¦0001-01-01¦0001-12-31 BC¦1999-12-31¦2000-02-29¦5874897-12-31¦9999-12-31¦10000-01-01¦1970-01-01¦2026-11-23',
)

/** The latest that a timestamp can be: rounding it up is out of range. */
const LATEST = '294276-12-31 23:59:59'

/** Of timestamps that are rounded. */
export const ROUNDED_TIMESTAMPS = list(
  'infinity¦-infinity¦4713-01-01 00:00:00 BC¦0001-01-01 00:00:00.000001¦0044-03-15 12:00:00 BC¦1999-12-31 23:59:59.999999¦9999-12-31 24:00:00¦2026-11-23 08:00:00.1¦2026-11-23 08:00:00.100¦1970-01-01 00:00:00¦2026-03-29 02:30:00',
)

export const TIMESTAMPS = [...ROUNDED_TIMESTAMPS, LATEST]

const ZONED = list(
  '2026-10-25 02:30:00+02¦2026-10-25 02:30:00+01¦1850-01-01 00:00:00+00:53:28¦2026-11-23 08:00:00+05:45',
)

export const ROUNDED_ZONED_TIMESTAMPS = [...ROUNDED_TIMESTAMPS, ...ZONED]

export const ZONED_TIMESTAMPS = [...TIMESTAMPS, ...ZONED]

export const INTERVALS = list(
  '1 mon¦30 days¦720:00:00¦1 year¦12 mons¦0¦-1 mon +1 day¦1 day -24:00:00¦infinity¦-infinity¦178000000 years¦-178000000 years¦00:00:00.000001¦1 year 2 mons 3 days 04:05:06.789¦P1Y¦-00:00:01¦1 mon -30 days',
)

/** A number that jsonb cannot hold as one is in `JSON_NUMBERS` alone. */
export const DOCUMENTS = list(
  'null¦1¦1.0¦"a"¦{}¦[]¦{"a":1,"a":2}¦ { "b" : 1 , "a":[1, 2,null]} ¦"\\u00e9\\n\\t\\\\"¦-0¦"\\u2028"¦true¦{"😀":"\\ud83d\\ude00"}¦""¦1E+2',
)

export const JSON_NUMBERS = ['1e400']

export const LABELS = list(`sad¦ok¦hap py¦"q"¦NULL¦ünï¦a,b¦{x}¦\\b¦it's¦(¦ `)

export const BITS = list('000¦101¦111¦010')

/** Two odd texts, noise, or one so long that it is stored out of line, compressed or not. */
export function anyText(random: Random): string {
  const way = random.below(10)
  if (way < 5) return random.pick(TEXTS) + random.pick(TEXTS)
  if (way < 8) return noise(random, between(random, 1, 20))
  if (way === 8) return noise(random, between(random, 2500, 9000))
  return 'abcdefgh'.repeat(between(random, 300, 3750))
}

/** A day that every month has. */
export function anyDate(random: Random, from = 1900): string {
  return `${between(random, from, 2100)}-${between(random, 1, 12)}-${between(random, 1, 28)}`
}

export function anyTime(random: Random): string {
  return `${random.below(24)}:${random.below(60)}:${random.below(60)}.${random.below(1_000_000)}`
}
