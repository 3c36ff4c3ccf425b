import type { TimeFormat } from './options.ts'

const DATE = /^(\d{4})-(\d{2})-(\d{2})$/
const STAMP =
  /^(\d{4}-\d{2}-\d{2})([ T])(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d+))?)?\s?(Z|[+-]\d{2}(?::?\d{2})?)?$/
const TIME = /^(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,6}))?(Z|[+-]\d{2}(?::\d{2})?)?$/

const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

/** True for a day of the years 1 to 9999; what else COPY takes is not known for certain. */
export function isDate(text: string): boolean {
  const [, year = '', month = '', day = ''] = DATE.exec(text) ?? []
  const [y, m, d] = [Number(year), Number(month), Number(day)]
  const leap = (y % 4 === 0 && y % 100 !== 0) || y % 400 === 0
  const days = (DAYS[m - 1] ?? 0) + (m === 2 && leap ? 1 : 0)
  return y >= 1 && d >= 1 && d <= days
}

const isClock = (hour = '', minute = '', second = '0') =>
  Number(hour) <= 23 && Number(minute) <= 59 && Number(second) <= 59

/** The timestamp for PostgreSQL, undefined when it does not have the format. The zone of one without zone is ignored. */
export function readTimestamp(text: string, format: TimeFormat, zoned: boolean): string | undefined {
  if (format === 'epochsecs' || format === 'epochmillisecs') return readEpoch(text, format)
  const [, date = '', separator, hour, minute, second, fraction = '', zone] = STAMP.exec(text) ?? []
  if (!isDate(date) || !isClock(hour, minute, second)) return undefined
  if (format !== 'auto') {
    if (separator !== (format === 'iso-t' ? 'T' : ' ') || second === undefined || fraction.length > 6)
      return undefined
    if (zone !== undefined && (!zoned || zone === 'Z')) return undefined
  }
  const micros = fraction === '' ? '' : `.${fraction.slice(0, 6)}`
  const offset = zoned ? (zone === undefined || zone === 'Z' ? '+00' : zone) : ''
  return `${date} ${hour}:${minute}:${second ?? '00'}${micros}${offset}`
}

function readEpoch(text: string, format: 'epochsecs' | 'epochmillisecs'): string | undefined {
  if (!/^-?\d{1,14}$/.test(text)) return undefined
  const date = new Date(Number(text) * (format === 'epochsecs' ? 1000 : 1))
  const iso = Number.isNaN(date.getTime()) ? '' : date.toISOString()
  return /^\d{4}-/.test(iso) && !iso.startsWith('0000')
    ? `${iso.slice(0, 23).replace('T', ' ')}+00`
    : undefined
}

/** A time of day for PostgreSQL; one with a zone is turned into UTC, as Redshift keeps it. */
export function readTime(text: string, zoned: boolean): string | undefined {
  const [, hour = '', minute = '', second = '', fraction = '', zone] = TIME.exec(text) ?? []
  if (hour === '' || !isClock(hour, minute, second) || (zone !== undefined && !zoned)) return undefined
  const micros = fraction === '' ? '' : `.${fraction}`
  if (!zoned) return `${hour}:${minute}:${second}${micros}`
  const minutes = (((Number(hour) * 60 + Number(minute) - offsetMinutes(zone)) % 1440) + 1440) % 1440
  const two = (value: number) => String(value).padStart(2, '0')
  return `${two(Math.floor(minutes / 60))}:${two(minutes % 60)}:${second}${micros}+00`
}

function offsetMinutes(zone: string | undefined): number {
  if (zone === undefined || zone === 'Z') return 0
  const [hours = '0', minutes = '0'] = zone.slice(1).split(':')
  return (zone.startsWith('-') ? -1 : 1) * (Number(hours) * 60 + Number(minutes))
}
