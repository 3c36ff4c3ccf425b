import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type CopyOut, copyOut } from './copy-out.ts'

function message(code: string, content: Buffer | string): Buffer {
  const bytes = Buffer.from(content)
  const header = Buffer.alloc(5)
  header.write(code, 'latin1')
  header.writeUInt32BE(bytes.length + 4, 1)
  return Buffer.concat([header, bytes])
}

/** What the driver does: `C` ends the statement, `E` is an error; everything it gets is kept. */
function connect(copy: CopyOut) {
  const stream = new PassThrough()
  const driver: Buffer[] = []
  stream.on('data', (bytes: Buffer) => {
    driver.push(bytes)
    const all = Buffer.concat(driver).toString('latin1')
    if (all.includes('C\0\0\0\x08copy')) copy.handleCommandComplete()
    if (all.includes('E\0\0\0\x08fail')) copy.handleError(new Error('fail'))
  })
  copy.submit({ stream, query: () => {} })
  return { stream, driver: () => Buffer.concat(driver).toString('latin1') }
}

async function read(copy: CopyOut): Promise<string> {
  const parts: Buffer[] = []
  for await (const piece of copy) parts.push(Buffer.from(piece))
  return Buffer.concat(parts).toString()
}

const cut = (bytes: Buffer, cuts: readonly number[]) => {
  const places = [...new Set([0, ...cuts.map((each) => each % (bytes.length + 1)), bytes.length])]
  places.sort((a, b) => a - b)
  return places.slice(1).map((end, index) => Buffer.from(bytes.subarray(places[index], end)))
}

const END = Buffer.concat([message('c', ''), message('C', 'copy'), message('Z', 'I')])
const FAILED = Buffer.concat([message('E', 'fail'), message('Z', 'E')])

it('passes rows on and gives the driver the rest, however the bytes are cut', async () => {
  const row = fc.string({ maxLength: 30 }).map((text) => `${text}\n`)
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(row, fc.constantFrom('d', 'd', 'd', 'N', 'S', 'A')), { maxLength: 10 }),
      fc.array(fc.nat(), { maxLength: 10 }),
      fc.boolean(),
      async (messages, cuts, fails) => {
        const copy = copyOut('COPY')
        const { stream, driver } = connect(copy)
        const last = fails ? FAILED : END
        const bytes = Buffer.concat([
          message('H', 'xyz'),
          ...messages.map(([content, code]) => message(code, content)),
          last,
        ])
        const reading = read(copy)
        reading.catch(() => {})
        for (const piece of cut(bytes, cuts)) stream.write(piece)
        const rows = messages.filter(([, code]) => code === 'd').map(([content]) => content)
        if (fails) await expect(reading).rejects.toThrow('fail')
        else expect(await reading).toBe(rows.join(''))
        await new Promise(setImmediate)
        expect(driver()).toBe(last.toString('latin1'))
      },
    ),
  )
})

it('reads no more than one piece ahead of its consumer', async () => {
  const copy = copyOut('COPY')
  const { stream } = connect(copy)
  const rows = copy[Symbol.asyncIterator]()
  const first = rows.next()
  for (let count = 0; count < 5; count += 1) stream.write(message('d', `${count}\n`))
  expect((await first).value?.toString()).toBe('0\n')
  await new Promise(setImmediate)
  expect(stream.isPaused()).toBe(true)
  expect(stream.readableLength).toBeGreaterThan(0)
  for (let count = 1; count < 5; count += 1) expect((await rows.next()).value?.toString()).toBe(`${count}\n`)
  await rows.return?.()
  expect(stream.isPaused()).toBe(true)
})

it('says that the connection is lost once the rows that came are taken', async () => {
  const copy = copyOut('COPY')
  const { stream } = connect(copy)
  const rows = copy[Symbol.asyncIterator]()
  stream.write(message('d', '1\n'))
  await new Promise(setImmediate)
  copy.handleError(new Error('gone'))
  expect((await rows.next()).value?.toString()).toBe('1\n')
  await expect(rows.next()).rejects.toThrow('gone')
})
