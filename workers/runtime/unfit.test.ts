import { describe, expect, it } from 'vitest'
import { MAX_UNFIT_COLUMNS } from '../../crds/api.ts'
import { createUnfitCounts } from './unfit.ts'

describe('values that did not fit', () => {
  it('are nothing to report when there is none', () => {
    expect(createUnfitCounts().report()).toBeUndefined()
  })

  it('are added up by column, most of them first', () => {
    const counts = createUnfitCounts()
    counts.add('a', 1)
    counts.add('b', 5)
    counts.add('a', 2)
    expect(counts.report()).toEqual([
      { column: 'b', values: 5 },
      { column: 'a', values: 3 },
    ])
  })

  it('name as many columns as a status takes', () => {
    const counts = createUnfitCounts()
    for (let i = 0; i < 30; i += 1) counts.add(`c${i}`, i + 1)
    expect(counts.report()).toHaveLength(MAX_UNFIT_COLUMNS)
    expect(counts.report()?.[0]).toEqual({ column: 'c29', values: 30 })
  })

  it('go on from what an earlier process has reported, once', () => {
    const counts = createUnfitCounts()
    counts.resume([{ column: 'a', values: 7 }])
    counts.resume([{ column: 'a', values: 7 }])
    counts.add('a', 1)
    expect(counts.report()).toEqual([{ column: 'a', values: 8 }])
  })
})
