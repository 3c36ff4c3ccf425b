import type { Form } from './form.ts'
import type { RedshiftType } from './redshift-type.ts'

/** First and last day that is loaded: others are written in ways (BC, five digits, infinity) that Redshift does not read. */
const FIRST = '0001-01-01'
const LAST = '9999-12-31'

/** Text of a date or time stamp of the years 1 to 9999. */
const USUAL = /^\d{4}-[^B]*$/

/** Dates and time stamps; infinity, years BC and years after 9999 have the first or last value as a near one. */
export function dayForm(kind: 'date' | 'timestamp' | 'timestamptz'): Form {
  const zone = kind === 'timestamptz' ? '+00' : ''
  const first = kind === 'date' ? FIRST : `${FIRST} 00:00:00${zone}`
  const last = kind === 'date' ? LAST : `${LAST} 23:59:59.999999${zone}`
  const type: RedshiftType = { kind }
  return {
    type,
    fits: (x) => `${x} >= '${first}' AND ${x} <= '${last}'`,
    text: (x) => `${x}::text`,
    nearest: (x) => `CASE WHEN ${x} > '${last}' THEN '${last}' ELSE '${first}' END`,
    scan: { doubt: (value) => `${value} > '${last}' OR ${value} < '${first}'` },
    convert: (text) => {
      if (USUAL.test(text)) return text
      return { nearest: text.startsWith('-') || text.endsWith('BC') ? first : last }
    },
  }
}

/** Time of day. PostgreSQL has 24:00:00, Redshift does not. */
export function timeForm(): Form {
  const last = '23:59:59.999999'
  return {
    type: { kind: 'time' },
    fits: (x) => `${x} < '24:00:00'`,
    text: (x) => `${x}::text`,
    nearest: () => `'${last}'`,
    scan: { doubt: (value) => `${value} = '24:00:00'` },
    convert: (text) => (text.startsWith('24') ? { nearest: last } : text),
  }
}
