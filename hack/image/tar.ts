/** One entry of a tar archive. */
export type TarEntry =
  | { type: 'file'; path: string; mode: number; content: Buffer }
  | { type: 'directory'; path: string; mode: number }
  | { type: 'link'; path: string; target: string }

const BLOCK = 512
const typeFlags = { file: '0', link: '2', directory: '5' } as const

/**
 * Yields a POSIX tar archive. The same entries always give the same bytes: owner is root, times are zero.
 * Paths longer than the header's 100 bytes go into an extended header.
 */
export function* tarChunks(entries: Iterable<TarEntry>): Generator<Buffer> {
  for (const entry of entries) {
    const path = entry.type === 'directory' ? `${entry.path}/` : entry.path
    const long: Record<string, string> = {}
    if (Buffer.byteLength(path) > 100) long.path = path
    if (entry.type === 'link' && Buffer.byteLength(entry.target) > 100) long.linkpath = entry.target
    if (Object.keys(long).length > 0) yield* extendedHeader(long)
    const content = entry.type === 'file' ? entry.content : Buffer.alloc(0)
    yield header({
      path,
      mode: entry.type === 'link' ? 0o777 : entry.mode,
      size: content.length,
      flag: typeFlags[entry.type],
      target: entry.type === 'link' ? entry.target : '',
    })
    yield content
    yield padding(content.length)
  }
  yield Buffer.alloc(2 * BLOCK)
}

interface Header {
  path: string
  mode: number
  size: number
  flag: string
  target: string
}

function header({ path, mode, size, flag, target }: Header): Buffer {
  const block = Buffer.alloc(BLOCK)
  const octal = (value: number, width: number) => `${value.toString(8).padStart(width - 1, '0')}\0`
  block.write(cut(path), 0)
  block.write(octal(mode, 8), 100)
  block.write(octal(0, 8), 108)
  block.write(octal(0, 8), 116)
  block.write(octal(size, 12), 124)
  block.write(octal(0, 12), 136)
  // The checksum is taken with its own field full of spaces.
  block.write(' '.repeat(8), 148)
  block.write(flag, 156)
  block.write(cut(target), 157)
  block.write('ustar\x0000', 257)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}

/** The first 100 bytes; what is longer stands in the extended header. */
function cut(text: string): string {
  return Buffer.from(text).subarray(0, 100).toString('latin1')
}

function* extendedHeader(fields: Record<string, string>): Generator<Buffer> {
  const records = Object.entries(fields).map(([key, value]) => extendedRecord(` ${key}=${value}\n`))
  const content = Buffer.from(records.join(''))
  yield header({ path: 'extended', mode: 0o644, size: content.length, flag: 'x', target: '' })
  yield content
  yield padding(content.length)
}

/** Puts a record's length, which counts its own digits, before the record. */
export function extendedRecord(rest: string): string {
  const bytes = Buffer.byteLength(rest)
  let length = bytes + String(bytes).length
  if (String(length).length > String(bytes).length) length = bytes + String(length).length
  return `${length}${rest}`
}

const padding = (size: number) => Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK)
