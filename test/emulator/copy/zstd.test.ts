import { zstdCompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { decompressZstd } from './zstd.ts'

async function* chunks(...parts: Buffer[]) {
  yield* parts
}

async function decompress(...parts: Buffer[]): Promise<string> {
  const out: Buffer[] = []
  for await (const chunk of decompressZstd(chunks(...parts))) out.push(chunk)
  return Buffer.concat(out).toString()
}

const [a, b] = [zstdCompressSync('first frame\n'), zstdCompressSync('second frame\n')]

describe('frames', () => {
  it('one after the other, cut anywhere', async () => {
    const both = Buffer.concat([a, b])
    for (let at = 0; at <= both.length; at++) {
      expect(await decompress(both.subarray(0, at), both.subarray(at))).toBe('first frame\nsecond frame\n')
    }
  })

  it('more than a buffer full', async () => {
    const text = 'x'.repeat(10_000_000)
    expect((await decompress(zstdCompressSync(text), zstdCompressSync('y'))).length).toBe(10_000_001)
  })

  it('that are none', async () => {
    await expect(decompress(Buffer.from('no zstd at all'))).rejects.toThrow('Unknown frame descriptor')
    await expect(decompress(Buffer.concat([a, Buffer.from('rest')]))).rejects.toThrow(
      'Unknown frame descriptor',
    )
  })

  it('that end too early', async () => {
    await expect(decompress(a, b.subarray(0, b.length - 1))).rejects.toThrow('unexpected end of file')
  })
})
