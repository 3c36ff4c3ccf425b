import { describe, expect, it } from 'vitest'
import { MillraceError } from '../../lib/errors.ts'
import { readByKeys } from './verify-read.ts'
import type { VerifySide } from './verify-sql.ts'

const side: VerifySide = {
  from: 't',
  where: '',
  hash: 'hash',
  checksum: '',
  order: undefined,
  scatter: '',
  key: [{ text: 't.k', place: 't.k', wanted: (text) => `(${text})::integer` }],
}

const refused = (code: string) =>
  new MillraceError('Internal', 'refused', {
    cause: Object.assign(new Error(), { code, severity: 'ERROR' }),
  })

/** A server with a row under every key that it can hold. */
function server(code: string, cannotHold: readonly string[], cannotRead: readonly string[] = []) {
  const statements: string[] = []
  return {
    statements,
    async query(text: string, values: readonly (string | null)[] = []) {
      statements.push(text)
      const keys = [...(values[0] ?? '').matchAll(/"(.*?)"/g)].map(([, key = '']) => key)
      const bad = text.includes('JOIN') ? [...cannotHold, ...cannotRead] : cannotHold
      if (keys.some((key) => bad.includes(key))) throw refused(code)
      return keys.map((k0) => ({ k0, h: '', v: '' }))
    },
  }
}

const keys = ['1', 'no', '3', '4', 'none', '6'].map((key) => [key])

describe('readByKeys', () => {
  it.each(['22003', '22P02', '22008', '42601', '23514'])(
    'leaves out what the side cannot hold (%s)',
    async (code) => {
      const { query } = server(code, ['no', 'none'])
      const found = await readByKeys(query, side, keys)
      expect(found.map(({ key }) => key[0])).toEqual(['1', '3', '4', '6'])
    },
  )

  it('asks once where all can be held', async () => {
    const { query, statements } = server('22003', [])
    expect(await readByKeys(query, side, keys)).toHaveLength(6)
    expect(statements).toHaveLength(1)
  })

  it.each([
    ['a value that is no key', '22003', []],
    ['a value that is no key, beside keys that are not held', '22003', ['no']],
    ['something else', '42501', ['no']],
  ])('throws what is about %s', async (_what, code, cannotHold) => {
    const { query } = server(code, cannotHold, ['4'])
    await expect(readByKeys(query, side, keys)).rejects.toMatchObject({ message: 'refused' })
  })
})
