import { type Form, LOST } from './form.ts'
import { textForm } from './form-text.ts'
import { MAX_VARBYTE, MAX_VARCHAR } from './redshift-type.ts'

/** bytea into VARBYTE: COPY reads two hexadecimal digits a byte. No digits at all are a NULL to it, so they do not fit. */
export function binaryForm(bytes: number): Form {
  const limit = Math.min(bytes, MAX_VARBYTE)
  return {
    type: { kind: 'varbyte', length: MAX_VARBYTE },
    fits: (x) => `octet_length(${x}) BETWEEN 1 AND ${limit}`,
    text: (x) => `encode(${x}, 'hex')`,
    nearest: (x) => `nullif(encode(substr(${x}, 1, ${limit}), 'hex'), '')`,
    convert: (text) => {
      const hex = digits(text)
      if (hex === '') return LOST
      return hex.length <= 2 * limit ? hex : { nearest: hex.slice(0, 2 * limit) }
    },
  }
}

/** bytea as text of hexadecimal digits, for keys: they are compared and sorted by. */
export function hexForm(bytes = MAX_VARCHAR): Form {
  const text = textForm(bytes, (value) => `encode(${value}, 'hex')`)
  const { scan: _, ...converted } = text
  return { ...converted, convert: (value) => text.convert(digits(value)) }
}

function digits(text: string): string {
  if (!text.startsWith('\\x')) throw new Error('bytea is not in its hexadecimal form')
  return text.slice(2)
}
