import { describe, expect, it } from 'vitest'
import { readLines } from './lines.ts'

async function lines(...chunks: (string | Buffer)[]): Promise<string[]> {
  const stream = (async function* () {
    for (const chunk of chunks) yield Buffer.from(chunk as string)
  })()
  const seen: string[] = []
  for await (const line of readLines(stream)) seen.push(line)
  return seen
}

describe('readLines', () => {
  it.each([
    ['one line in one chunk', ['a\n'], ['a']],
    ['several in one chunk', ['a\nb\nc\n'], ['a', 'b', 'c']],
    ['one over several chunks', ['a', 'b', 'c\nd\n'], ['abc', 'd']],
    ['empty lines are left out', ['\n\na\n\n'], ['a']],
    ['what has no end is not a line', ['a\nb'], ['a']],
  ])('%s', async (_, chunks, expected) => {
    expect(await lines(...chunks)).toEqual(expected)
  })

  it('keeps a character whole that is spread over chunks', async () => {
    const bytes = Buffer.from('ä€\n')
    expect(await lines(bytes.subarray(0, 1), bytes.subarray(1, 3), bytes.subarray(3))).toEqual(['ä€'])
  })
})
