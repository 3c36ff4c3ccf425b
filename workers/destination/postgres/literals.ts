// Two text encodings of PostgreSQL for many values at once. Most values need no escape, so that is tested first.

const ARRAY_SPECIAL = /["\\]/
const COPY_SPECIAL = /[\\\n\r\t]/
const COPY_ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** A one-dimensional array literal for a `text[]` parameter; every value is quoted, null becomes NULL. */
export function arrayLiteral(values: readonly (string | null)[]): string {
  let text = '{'
  for (let index = 0; index < values.length; index++) {
    const value = values[index] ?? null
    if (index > 0) text += ','
    if (value === null) text += 'NULL'
    else text += `"${ARRAY_SPECIAL.test(value) ? value.replace(/["\\]/g, '\\$&') : value}"`
  }
  return `${text}}`
}

/** A value in the text format of COPY. */
export function copyValue(value: string | null): string {
  if (value === null) return '\\N'
  return COPY_SPECIAL.test(value)
    ? value.replace(/[\\\n\r\t]/g, (char) => COPY_ESCAPES[char] as string)
    : value
}

/** A row in the text format of COPY, with its line end. */
export function copyLine(values: readonly (string | null)[]): string {
  let line = ''
  for (let index = 0; index < values.length; index++) {
    if (index > 0) line += '\t'
    line += copyValue(values[index] ?? null)
  }
  return `${line}\n`
}
