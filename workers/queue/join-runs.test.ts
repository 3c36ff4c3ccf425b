import { describe, expect, it } from 'vitest'
import { createRunJoiner } from './join-runs.ts'

const record = (offset: number, value: string, part?: string, run = 'r', timestamp = 0) => ({
  topic: 't',
  offset: BigInt(offset),
  timestamp,
  key: undefined,
  value: Buffer.from(value),
  headers: part === undefined ? {} : { part, run },
})

type Result = [value: string, resumeOffset: bigint] | undefined

function push(joiner: ReturnType<typeof createRunJoiner>, ...input: Parameters<typeof record>): Result {
  const run = joiner.push(record(...input))
  return run && [run.value.toString(), run.resumeOffset]
}

describe('createRunJoiner', () => {
  it('passes whole runs and joins parts', () => {
    const joiner = createRunJoiner()
    expect(push(joiner, 0, 'a')).toEqual(['a', 1n])
    expect(push(joiner, 1, 'b', '1/3')).toBeUndefined()
    expect(push(joiner, 2, 'c', '2/3')).toBeUndefined()
    expect(joiner.bytes()).toBe(2)
    expect(push(joiner, 3, 'd', '3/3')).toEqual(['bcd', 4n])
    expect(joiner.bytes()).toBe(0)
  })

  it('keeps apart what two writers write at the same time, and begins again at what is not complete', () => {
    const joiner = createRunJoiner()
    push(joiner, 0, 'new1', '1/2', 'new')
    push(joiner, 1, 'old1', '1/3', 'old')
    expect(push(joiner, 2, 'whole')).toEqual(['whole', 0n])
    expect(push(joiner, 3, 'new2', '2/2', 'new')).toEqual(['new1new2', 1n])
    expect(push(joiner, 4, 'more')).toEqual(['more', 1n])
  })

  it('forgets what its writer never completed, after a while', () => {
    const joiner = createRunJoiner()
    push(joiner, 0, 'x', '1/2', 'dead', 0)
    expect(push(joiner, 1, 'a', undefined, 'r', 600_000)).toEqual(['a', 0n])
    expect(push(joiner, 2, 'b', undefined, 'r', 600_001)).toEqual(['b', 3n])
    expect(joiner.bytes()).toBe(0)
  })

  it('goes on with a run whose writer was held up for long, or whose clock was set', () => {
    const joiner = createRunJoiner()
    push(joiner, 0, 'a', '1/3')
    push(joiner, 1, 'b', '2/3', 'r', 3_600_000)
    expect(push(joiner, 2, 'c', '3/3', 'r', 100)).toEqual(['abc', 3n])
  })

  it('reports a loss when more comes of a run that was given up for another: it may not be written again', () => {
    const joiner = createRunJoiner()
    push(joiner, 0, 'a', '1/2')
    push(joiner, 1, 'whole', undefined, 'other', 600_001)
    expect(() => push(joiner, 2, 'b', '2/2', 'r', 600_002)).toThrow(/the part before it is gone/)
  })

  it('does not gather without limit', () => {
    const joiner = createRunJoiner()
    for (let number = 0; number < 10; number += 1) push(joiner, number, 'x', '1/2', `dead${number}`)
    expect(joiner.bytes()).toBe(3)
  })

  it('starts a run anew when its first part comes again', () => {
    const joiner = createRunJoiner()
    push(joiner, 0, 'a', '1/2')
    push(joiner, 1, 'a', '1/2')
    expect(push(joiner, 2, 'b', '2/2')).toEqual(['ab', 3n])
  })

  it.each([
    ['the first part is gone', [[5, 'b', '2/3']]],
    [
      'one in the middle is gone',
      [
        [5, 'a', '1/3'],
        [7, 'c', '3/3'],
      ],
    ],
  ] as [string, Parameters<typeof record>[]][])('reports a loss when %s', (_name, records) => {
    const joiner = createRunJoiner()
    const all = () => records.map((input) => joiner.push(record(...input)))
    expect(all).toThrow(expect.objectContaining({ code: 'QueueLost' }))
  })
})
