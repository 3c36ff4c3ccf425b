/** How the elements of an array stand in JSON: `number` and `boolean` as such, everything else as strings. */
export type ElementForm = 'number' | 'boolean' | 'text'

/**
 * PostgreSQL's text of an array as a JSON array, in the very characters that `to_json()` writes. Bounds are left out,
 * dimensions become arrays of arrays.
 */
export function arrayToJSON(text: string, element: ElementForm): string {
  const body = text.startsWith('[') ? text.slice(text.indexOf('=') + 1) : text
  let out = ''
  let at = 0
  while (at < body.length) {
    const char = body[at] as string
    if (char === '{') {
      out += '['
      at += 1
    } else if (char === '}') {
      out += ']'
      at += 1
    } else if (char === ',') {
      out += ','
      at += 1
    } else if (char === '"') {
      const { value, end } = quoted(body, at + 1)
      out += elementToJSON(value, element)
      at = end
    } else {
      let end = at
      while (end < body.length && body[end] !== ',' && body[end] !== '}') end += 1
      const value = body.slice(at, end)
      out += value === 'NULL' ? 'null' : elementToJSON(value, element)
      at = end
    }
  }
  return out
}

function quoted(body: string, from: number): { value: string; end: number } {
  let value = ''
  let at = from
  while (at < body.length && body[at] !== '"') {
    if (body[at] === '\\') at += 1
    value += body[at]
    at += 1
  }
  return { value, end: at + 1 }
}

function elementToJSON(value: string, element: ElementForm): string {
  if (element === 'boolean') return value === 't' ? 'true' : 'false'
  // NaN and Infinity are no numbers of JSON.
  if (element === 'number' && /^-?\d/.test(value)) return value
  return JSON.stringify(value)
}
