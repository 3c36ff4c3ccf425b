import { arrayToJSON, type ElementForm } from './array-text.ts'
import { type Form, LOST, type Unfit } from './form.ts'
import { UNFIT_BEGIN } from './marks.ts'
import type { RedshiftType } from './redshift-type.ts'

const SUPER: RedshiftType = { kind: 'super' }

/** Longest string inside of a SUPER value, in bytes. */
const MAX_STRING = 65_535

/**
 * JSON into SUPER. There is no near value for one that is too large or has a string that is too long: half a document is not
 * one.
 *
 * @param bytes most that the document may take in a line of CSV, where each of its quotes is written twice
 * @param checked the type is jsonb, which PostgreSQL has taken apart already; json may hold escapes that mean no character
 */
export function jsonForm(bytes: number, checked: boolean): Form {
  return {
    type: SUPER,
    via: (value) => `${value}::text`,
    fits: (x, value) => fitsSQL(x, checked ? value : `${x}::jsonb`, bytes, checked),
    scan: {
      bytes: Math.min(MAX_STRING, bytes),
      // More than the document may take, and its quotes.
      keep: bytes + 16,
      ...(!checked && { needle: '\\u' }),
    },
    convert: (text) => (checked || !hasBadEscape(text) ? checkDocument(text, bytes) : LOST),
  }
}

/** Arrays into SUPER as JSON arrays; their elements are numbers, true and false where JSON has such, else strings. */
export function arrayForm(bytes: number, element: ElementForm): Form {
  // Text that PostgreSQL reads again as an array of texts gives each element as its own type writes it.
  const array = (value: string) => (element === 'text' ? `(${value}::text)::text[]` : value)
  return {
    type: SUPER,
    via: (value) => `to_json(${array(value)})::text`,
    fits: (x) => fitsSQL(x, `${x}::jsonb`, bytes, true),
    convert: (text) => checkDocument(arrayToJSON(text, element), bytes),
  }
}

// CASE and not AND: only it keeps PostgreSQL from casting first what cannot be cast.
function fitsSQL(x: string, document: string, bytes: number, checked: boolean): string {
  const quotes = `octet_length(${x}) - octet_length(replace(${x}, '"', ''))`
  const size = `octet_length(${x}) * 4 <= ${bytes} OR octet_length(convert_to(${x}, 'UTF8')) + ${quotes} <= ${bytes}`
  const strings =
    `NOT EXISTS (SELECT FROM jsonb_path_query(${document}, 'strict $.** ? (@.type() == "string")') AS j(v)` +
    ` WHERE octet_length(convert_to(j.v #>> '{}', 'UTF8')) > ${MAX_STRING})`
  const escapes = checked ? '' : ` WHEN ${badEscapeSQL(x)} THEN false`
  return (
    `CASE WHEN strpos(${x}, '${UNFIT_BEGIN}') > 0 THEN false WHEN NOT (${size}) THEN false${escapes}` +
    ` WHEN octet_length(${x}) <= ${Math.floor(MAX_STRING / 4)} THEN true ELSE ${strings} END`
  )
}

function checkDocument(text: string, bytes: number): string | Unfit {
  if (text.includes(UNFIT_BEGIN)) return LOST
  if (text.length * 3 * 2 > bytes) {
    const quotes = text.split('"').length - 1
    if (Buffer.byteLength(text) + quotes > bytes) return LOST
  }
  // A string cannot be longer than the document that it is in.
  if (text.length * 3 <= MAX_STRING) return text
  return hasLongString(JSON.parse(text)) ? LOST : text
}

function hasLongString(value: unknown): boolean {
  const waiting: unknown[] = [value]
  for (;;) {
    const next = waiting.pop()
    if (next === undefined) return false
    if (typeof next === 'string') {
      if (next.length * 3 > MAX_STRING && Buffer.byteLength(next) > MAX_STRING) return true
    } else if (typeof next === 'object' && next !== null) {
      for (const inner of Object.values(next)) waiting.push(inner)
    }
  }
}

// An escaped backslash, or a proper pair of surrogates: passed over from left to right, so that what is left is bad.
const GOOD_ESCAPE = /\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}/g
const BAD_ESCAPE = /\\u(0000|[dD][89a-fA-F])/

function hasBadEscape(text: string): boolean {
  return text.includes('\\u') && BAD_ESCAPE.test(text.replace(GOOD_ESCAPE, ''))
}

function badEscapeSQL(x: string): string {
  const good = '\\\\\\\\|\\\\u[dD][89abAB][0-9a-fA-F]{2}\\\\u[dD][c-fC-F][0-9a-fA-F]{2}'
  const bad = '\\\\u(0000|[dD][89a-fA-F])'
  return `strpos(${x}, '\\u') > 0 AND regexp_replace(${x}, '${good}', '', 'g') ~ '${bad}'`
}
