import { connect } from 'node:net'

const METADATA = 3
const VERSION = 4
const CORRELATION = 1

/** A metadata request about no topic, with the length that goes before it. */
function metadataRequest(): Buffer {
  const request = Buffer.alloc(4 + 2 + 2 + 4 + 2 + 4 + 1)
  request.writeInt32BE(request.length - 4, 0)
  request.writeInt16BE(METADATA, 4)
  request.writeInt16BE(VERSION, 6)
  request.writeInt32BE(CORRELATION, 8)
  request.writeInt16BE(-1, 12) // No client id.
  request.writeInt32BE(0, 14) // No topics.
  request.writeInt8(0, 18) // Make none either.
  return request
}

/** Number of live brokers in a metadata answer; undefined while the answer is not complete enough. */
export function brokerCount(answer: Buffer): number | undefined {
  // Length, correlation id, throttle time, then the array of brokers.
  return answer.length < 16 ? undefined : answer.readInt32BE(12)
}

/**
 * True when the broker answers a metadata request and counts itself in, so that topics can be made on it.
 * Rejects when nothing listens or no answer comes in three seconds.
 *
 * Written out instead of asking a client library: one request, and no library's retries or timers.
 */
export function brokerAnswers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port })
    let answer = Buffer.alloc(0)
    socket.setTimeout(3000, () => socket.destroy(new Error('no answer')))
    socket.once('connect', () => socket.write(metadataRequest()))
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('closed')))
    socket.on('data', (chunk) => {
      answer = Buffer.concat([answer, chunk])
      const count = brokerCount(answer)
      if (count === undefined) return
      resolve(count > 0)
      socket.destroy()
    })
  })
}
