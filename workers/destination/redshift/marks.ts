/**
 * What stands in the bytes of a scan beside values. The source's database converts, so it is what finds a value that does
 * not fit; it says so in the one place that reaches this process, the bytes themselves, where the marks are counted and cut
 * out on the way. No stored value has the begin of a mark in it, or is the text of NULL: such a text counts as one that does not
 * fit.
 */

/** What both kinds begin with. */
export const MARK_BEGIN = '<~mr'

/** A NULL in the files that COPY loads (`NULL AS`), whether or not Redshift heeds the quotes around it. */
export const NULL_TEXT = `${MARK_BEGIN}>`

/** What a column's value is preceded by when it did not fit; `column` is the place in the definition, from 0. */
export function unfitMark(column: number): string {
  return `${UNFIT_BEGIN}${column}>`
}

export const UNFIT_BEGIN = `${MARK_BEGIN}:`

/**
 * Before a value that stands for its row: something in that may not fit. After it comes nothing for NULL, or `=` and the value.
 */
export const DOUBT_MARK = `${UNFIT_BEGIN}?>`

/** Whether a text means something else in the bytes of a scan, or in files. */
export function isReserved(text: string): boolean {
  return text.includes(UNFIT_BEGIN) || text === NULL_TEXT
}

/** What becomes of a mark's begin inside of a value that is cut to fit. */
export const DEFUSED = '<~ mr'
