import { isDeepStrictEqual } from 'node:util'

/** Whether a status holds the operator's part already, the parts of others apart; then nothing need be written. */
export function isStatusWritten(
  wanted: object,
  present: object | undefined,
  others: readonly string[],
): boolean {
  const own = Object.fromEntries(
    Object.entries(present ?? {}).filter(([field, value]) => !others.includes(field) && value !== undefined),
  )
  const cleaned = Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== undefined))
  return isDeepStrictEqual(cleaned, own)
}
