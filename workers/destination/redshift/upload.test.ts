import { randomBytes } from 'node:crypto'
import { zstdDecompressSync } from 'node:zlib'
import { expect, it } from 'vitest'
import type { ObjectCalls } from './aws.ts'
import { createBuffers } from './buffers.ts'
import { createUpload } from './upload.ts'

const signal = new AbortController().signal

/** Keeps copies of what is put: buffers are used again. */
function bucket(put: (key: string) => Promise<void> = async () => {}) {
  const files = new Map<string, Buffer>()
  const objects = {
    async put(key: string, body: Buffer) {
      await put(key)
      files.set(key, Buffer.from(body))
    },
  } as unknown as ObjectCalls
  return { objects, content: () => [...files.values()].map((each) => zstdDecompressSync(each)) }
}

it('writes files of whole rows, with the same buffers for one upload after the other', async () => {
  const buffers = createBuffers()
  const rows = Array.from({ length: 40 }, () => Buffer.from(`${randomBytes(100_000).toString('hex')}\n`))
  for (let round = 0; round < 3; round += 1) {
    const { objects, content } = bucket(() => new Promise(setImmediate))
    const upload = createUpload({ objects, prefix: 'p/', fileBytes: 1_000_000, buffers })
    for (const row of rows) {
      const own = Buffer.from(row)
      await upload.write(own, signal)
      own.fill(0)
    }
    const keys = await upload.finish(signal)
    const files = content()
    expect(files.length).toBeGreaterThan(2)
    expect(keys).toHaveLength(files.length)
    for (const file of files) expect(file.at(-1)).toBe(0x0a)
    expect(Buffer.concat(files).equals(Buffer.concat(rows))).toBe(true)
  }
})

it('does not use a buffer again whose file could not be sent', async () => {
  const buffers = createBuffers()
  const given: Buffer[] = []
  const watched = { take: buffers.take, give: (each: Buffer) => void given.push(each) }
  const { objects } = bucket(() => Promise.reject(new Error('no')))
  const upload = createUpload({ objects, prefix: '', fileBytes: 1_000, buffers: watched })
  await upload.write(Buffer.from('a\n'), signal)
  await expect(upload.finish(signal)).rejects.toThrow('no')
  upload.abandon()
  expect(given).toEqual([])
})
