/**
 * Splits a stream of bytes into lines, without their ends and without empty ones. Cut only at complete lines, so a character
 * that is spread over two chunks stays whole.
 *
 * @param onBytes called for every chunk that arrives
 */
export async function* readLines(
  stream: AsyncIterable<Buffer>,
  onBytes: () => void = () => {},
): AsyncGenerator<string, void> {
  let parts: Buffer[] = []
  for await (const chunk of stream) {
    onBytes()
    let from = 0
    for (;;) {
      const end = chunk.indexOf(10, from)
      if (end === -1) break
      parts.push(chunk.subarray(from, end))
      const line = Buffer.concat(parts).toString('utf8')
      parts = []
      from = end + 1
      if (line.trim() !== '') yield line
    }
    if (from < chunk.length) parts.push(chunk.subarray(from))
  }
}
