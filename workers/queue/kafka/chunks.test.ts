import { describe, expect, it } from 'vitest'
import { MAX_RECORD_BYTES } from '../queue.ts'
import { nextRound, toChunks } from './chunks.ts'

const records = (...sizes: number[]) => sizes.map((size) => ({ value: Buffer.alloc(size) }))
const sizes = (chunks: ReturnType<typeof toChunks>, topic: string) =>
  chunks.get(topic)?.map((chunk) => chunk.records.map(({ value }) => value.length))

describe('toChunks', () => {
  it('keeps the order within a topic and the limit of a batch', () => {
    const chunks = toChunks([
      { topic: 'a', records: records(400_000, 400_000, 400_000, 1) },
      { topic: 'b', records: records(5) },
      { topic: 'a', records: records(2) },
    ])
    expect(sizes(chunks, 'a')).toEqual([[400_000, 400_000], [400_000, 1], [2]])
    expect(sizes(chunks, 'b')).toEqual([[5]])
  })

  it('knows no empty chunks', () => {
    expect(toChunks([{ topic: 'a', records: [] }]).size).toBe(0)
  })

  it('takes the largest record and refuses a larger one', () => {
    expect(sizes(toChunks([{ topic: 'a', records: records(MAX_RECORD_BYTES) }]), 'a')).toEqual([
      [MAX_RECORD_BYTES],
    ])
    const headers = { part: '1/2' }
    const large = [{ value: Buffer.alloc(MAX_RECORD_BYTES), headers }]
    expect(() => toChunks([{ topic: 'a', records: large }])).toThrow(/must be split/)
  })
})

describe('nextRound', () => {
  it('takes the first chunk of every topic, as far as they fit into a request', () => {
    const batches = Array.from({ length: 12 }, (_, at) => ({
      topic: String(at),
      records: records(900_000, 900_000),
    }))
    const round = nextRound(toChunks(batches))
    expect(round.map(({ topic }) => topic)).toEqual(['0', '1', '2', '3', '4', '5', '6', '7'])
  })
})
