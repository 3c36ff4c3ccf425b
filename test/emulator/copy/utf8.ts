import { isUtf8 } from 'node:buffer'

const NOT_ASCII = /[\x80-\xff]/

/** True when a binary string is valid UTF-8. */
export const isValid = (bytes: string) => !NOT_ASCII.test(bytes) || isUtf8(Buffer.from(bytes, 'latin1'))

export const isAscii = (bytes: string) => !NOT_ASCII.test(bytes)

/** The binary string of a text. */
export const toBytes = (text: string) => Buffer.from(text, 'utf8').toString('latin1')

/** The text of a binary string. */
export const toText = (bytes: string) => Buffer.from(bytes, 'latin1').toString('utf8')

/** Bytes of the well-formed character at an index; 0 when none is there. Overlong forms and surrogates are none. */
function characterLength(bytes: string, at: number): number {
  const first = bytes.charCodeAt(at)
  if (first < 0x80) return 1
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0
  const slice = bytes.slice(at, at + length)
  return length > 0 && slice.length === length && isUtf8(Buffer.from(slice, 'latin1')) ? length : 0
}

/** Unicode's noncharacters, which ACCEPTINVCHARS replaces although they are valid UTF-8. */
function isNoncharacter(bytes: string): boolean {
  const code = toText(bytes).codePointAt(0) ?? 0
  return (code & 0xfffe) === 0xfffe || (code >= 0xfdd0 && code <= 0xfdef)
}

/** Hex digits of the first bytes that are not valid UTF-8. */
export function firstInvalid(bytes: string): string {
  for (let at = 0; at < bytes.length; ) {
    const length = characterLength(bytes, at)
    if (length === 0)
      return Buffer.from(bytes.slice(at, at + 4), 'latin1')
        .toString('hex')
        .replaceAll(/(..)(?=.)/g, '$1 ')
    at += length
  }
  return ''
}

/** Puts the replacement in place of every byte of what is not a valid character. */
export function replaceInvalid(bytes: string, replacement: string): string {
  let result = ''
  for (let at = 0; at < bytes.length; ) {
    const length = characterLength(bytes, at)
    const character = bytes.slice(at, at + Math.max(length, 1))
    result +=
      length === 0 || (length >= 3 && isNoncharacter(character))
        ? replacement.repeat(character.length)
        : character
    at += character.length
  }
  return result
}

/** The longest begin with at most so many bytes that ends at the end of a character. */
export function cut(bytes: string, limit: number): string {
  let end = Math.min(limit, bytes.length)
  while (end > 0 && end < bytes.length && (bytes.charCodeAt(end) & 0xc0) === 0x80) end--
  return bytes.slice(0, end)
}
