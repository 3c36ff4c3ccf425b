import { pino } from 'pino'
import { describe, expect, it } from 'vitest'
import { createSliceCount, fitSlices } from './fit-slices.ts'

const log = pino({ level: 'silent' })
const never = new AbortController().signal

describe('chunks of one COPY', () => {
  it.each<[name: string, files: readonly number[], slices: number | undefined, taken: number]>([
    ['all where nobody knows the slices', [1, 1, 1], undefined, 3],
    ['all on one slice', [1, 2, 3], 1, 3],
    ['all that fill whole rounds', [1, 1, 2, 4], 4, 4],
    ['those up to the last full round', [1, 1, 2, 3], 4, 3],
    ['a chunk that fills several rounds by itself', [8, 3], 4, 1],
    ['all that do not fill a round', [1, 2], 4, 2],
    ['all that never come to a round', [3, 3, 3], 4, 3],
    ['chunks without rows, on the way to a round', [0, 2, 0, 1], 2, 3],
    ['chunks without rows alone', [0, 0], 2, 2],
    ['none of none', [], 2, 0],
  ])('%s', (_name, files, slices, taken) => {
    expect(fitSlices(files, slices)).toBe(taken)
  })
})

describe('the number of slices', () => {
  it('is asked for once', async () => {
    let asked = 0
    const count = createSliceCount(
      {
        query: async () => {
          asked += 1
          return [{ slices: '4' }]
        },
      },
      log,
    )
    expect([await count(never), await count(never)]).toEqual([4, 4])
    expect(asked).toBe(1)
  })

  it('is unknown where it is not told, which hinders nothing', async () => {
    let asked = 0
    const count = createSliceCount(
      {
        query: async () => {
          asked += 1
          throw new Error('permission denied for relation stv_slices')
        },
      },
      log,
    )
    expect([await count(never), await count(never)]).toEqual([undefined, undefined])
    expect(asked).toBe(1)
  })

  it('is asked for again after an abort', async () => {
    const abort = new AbortController()
    const count = createSliceCount(
      {
        query: async () => {
          if (abort.signal.aborted) return [{ slices: '2' }]
          abort.abort(new Error('over'))
          throw abort.signal.reason
        },
      },
      log,
    )
    await expect(count(abort.signal)).rejects.toThrow('over')
    expect(await count(never)).toBe(2)
  })
})
