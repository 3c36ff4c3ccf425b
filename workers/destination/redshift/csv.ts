import { NULL_TEXT } from './marks.ts'

/** `COPY … TO STDOUT` options of the source that make what COPY of Redshift loads. */
export const COPY_OPTIONS = `(FORMAT csv, NULL '${NULL_TEXT}')`

/** One field of CSV. Values are in quotes whatever they are; NULLs are not. */
export function csvField(value: string | null): string {
  return value === null ? NULL_TEXT : `"${value.includes('"') ? value.replaceAll('"', '""') : value}"`
}

/** One line of CSV. */
export function csvLine(values: readonly (string | null)[]): string {
  let line = ''
  for (const [index, value] of values.entries()) {
    if (index > 0) line += ','
    line += csvField(value)
  }
  return `${line}\n`
}
