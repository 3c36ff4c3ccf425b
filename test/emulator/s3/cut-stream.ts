import { type Readable, Transform } from 'node:stream'

/** The stream up to so many bytes, then an error as of a connection that was cut. */
export function cutStream(body: Readable, bytes: number): Readable {
  let left = bytes
  const cutting = new Transform({
    transform(chunk: Buffer, _, done) {
      const part = chunk.subarray(0, left)
      left -= part.length
      if (part.length > 0) this.push(part)
      if (left > 0) done()
      else done(Object.assign(new Error('The connection was closed by the emulator'), { code: 'ECONNRESET' }))
    },
  })
  body.once('error', (error) => cutting.destroy(error))
  return body.pipe(cutting)
}
