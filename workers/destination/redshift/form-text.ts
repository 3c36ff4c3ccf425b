import type { Form } from './form.ts'
import { DEFUSED, isReserved, MARK_BEGIN, NULL_TEXT, UNFIT_BEGIN } from './marks.ts'
import { MAX_VARCHAR, varchar } from './redshift-type.ts'

/** SQL of the value's output text: what COPY and the log write, where a cast to text would say something else. */
export const outputText = (value: string) => `format('%s', ${value})`

/** A limit below this is asked of each value, one above it of the length of the row: longer rows are few. */
const SHORT = 16_384

/**
 * Text into VARCHAR, whose length counts bytes of UTF-8. What is too long is cut before the character that would not fit.
 *
 * @param bytes most that the column holds
 * @param via for types that are not text
 * @param most bytes that a value of the source can have, where its type says so
 */
export function textForm(bytes = MAX_VARCHAR, via?: Form['via'], most = Number.POSITIVE_INFINITY): Form {
  const long = (x: string) =>
    `octet_length(${x}) > ${Math.floor(bytes / 4)} AND octet_length(convert_to(${x}, 'UTF8')) > ${bytes}`
  return {
    type: varchar(bytes),
    ...(via && { via }),
    fits: (x) => `${fitsBytes(x, bytes)} AND ${notReserved(x)}`,
    nearest: (x) => cutSQL(`replace(${x}, '${MARK_BEGIN}', '${DEFUSED}')`, bytes),
    scan: {
      ...(most > bytes && bytes < SHORT && { doubt: (value) => `(${long(via?.(value) ?? value)})` }),
      ...(most > bytes && bytes >= SHORT && { bytes }),
      // In CSV a quote is two; and there has to be more than fits.
      keep: 2 * (bytes + 8),
    },
    convert: (text) => {
      if (!isReserved(text) && (text.length * 3 <= bytes || Buffer.byteLength(text) <= bytes)) return text
      return { nearest: cutText(text.replaceAll(MARK_BEGIN, DEFUSED), bytes) }
    },
  }
}

/** SQL: no text that means something else in the bytes of a scan. */
export function notReserved(x: string): string {
  return `strpos(${x}, '${UNFIT_BEGIN}') = 0 AND ${x} <> '${NULL_TEXT}'`
}

/**
 * SQL: whether a text has at most so many bytes in UTF-8. A database may be in another encoding, of whose characters none
 * becomes more than four times as long; so the text is looked at in UTF-8 only where that could matter.
 */
export function fitsBytes(x: string, bytes: number): string {
  return `(octet_length(${x}) <= ${Math.floor(bytes / 4)} OR octet_length(convert_to(${x}, 'UTF8')) <= ${bytes})`
}

/** The longest begin of a text that has at most so many bytes in UTF-8 and ends with a whole character. */
export function cutText(text: string, bytes: number): string {
  const whole = Buffer.from(text)
  if (whole.length <= bytes) return text
  let end = bytes
  while (end > 0 && isContinuation(whole[end])) end -= 1
  return whole.toString('utf8', 0, end)
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80
}

/** The same in SQL. A character has at most four bytes, so its first is at most three before the cut. */
export function cutSQL(x: string, bytes: number): string {
  const starts = (back: number) => `(get_byte(s.b, ${bytes - back}) & 192) <> 128 THEN ${bytes - back}`
  const end = [0, 1, 2].map((back) => `WHEN ${starts(back)}`).join(' ')
  return (
    `(SELECT convert_from(CASE WHEN octet_length(s.b) <= ${bytes} THEN s.b` +
    ` ELSE substr(s.b, 1, CASE ${end} ELSE ${bytes - 3} END) END, 'UTF8')` +
    ` FROM (SELECT convert_to(${x}, 'UTF8') AS b OFFSET 0) AS s)`
  )
}
