import { MillraceError } from '../../../lib/errors.ts'
import { MAX_RECORD_BYTES, type OutgoingRecord, type TopicBatch } from '../queue.ts'

/** Records of one topic that travel as one record batch, which must not be larger than a broker takes. */
export interface Chunk {
  readonly topic: string
  readonly records: readonly OutgoingRecord[]
  readonly bytes: number
}

/** Bytes of one request over all its topics. */
const MAX_REQUEST_BYTES = 8_000_000
/** What a record costs beside value, key and headers. */
const RECORD_OVERHEAD = 32
const MAX_CHUNK_BYTES = 1_000_000

/** Cuts what is to be sent into chunks, in order within each topic. Throws `Internal` for a record that is too large. */
export function toChunks(batches: readonly TopicBatch[]): Map<string, Chunk[]> {
  const chunks = new Map<string, Chunk[]>()
  for (const { topic, records } of batches) {
    let current: OutgoingRecord[] = []
    let bytes = 0
    const list = chunks.get(topic) ?? []
    const finish = () => {
      if (current.length > 0) list.push({ topic, records: current, bytes })
      current = []
      bytes = 0
    }
    for (const record of records) {
      const size = recordBytes(record)
      if (size > MAX_RECORD_BYTES + RECORD_OVERHEAD)
        throw new MillraceError('Internal', `a record of ${size} bytes for topic ${topic} must be split`)
      if (bytes + size > MAX_CHUNK_BYTES) finish()
      current.push(record)
      bytes += size
    }
    finish()
    if (list.length > 0) chunks.set(topic, list)
  }
  return chunks
}

/** The next request: the first chunk of every topic as far as they fit, at least one. */
export function nextRound(waiting: ReadonlyMap<string, readonly Chunk[]>): Chunk[] {
  const round: Chunk[] = []
  let bytes = 0
  for (const [chunk] of waiting.values()) {
    if (!chunk) continue
    if (round.length > 0 && bytes + chunk.bytes > MAX_REQUEST_BYTES) break
    round.push(chunk)
    bytes += chunk.bytes
  }
  return round
}

function recordBytes({ value, key, headers }: OutgoingRecord): number {
  let bytes = RECORD_OVERHEAD + value.length + (key === undefined ? 0 : Buffer.byteLength(key))
  for (const [name, text] of Object.entries(headers ?? {})) bytes += name.length + Buffer.byteLength(text)
  return bytes
}
