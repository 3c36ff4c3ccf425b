import { describe, expect, it } from 'vitest'
import { flushDue } from './flush-policy.ts'

const settings = { flushRows: 100, flushBytes: 1000, flushSeconds: 2 }
const state = { changes: 1, bytes: 10, since: 50_000, lastFlush: 49_000, atEnd: true }

describe('flushDue', () => {
  it.each([
    ['nothing gathered', { changes: 0 }, Number.POSITIVE_INFINITY],
    ['first change after a quiet time', { lastFlush: 1_000 }, 3_000],
    ['first change ever', { lastFlush: Number.NEGATIVE_INFINITY }, Number.NEGATIVE_INFINITY],
    ['soon after the last write', {}, 51_000],
    ['behind, more is to come', { atEnd: false, lastFlush: 1_000 }, 52_000],
    ['enough changes', { changes: 100 }, 0],
    ['enough bytes', { bytes: 1000, atEnd: false }, 0],
  ])('%s', (_name, differing, due) => {
    expect(flushDue({ ...state, ...differing }, settings)).toBe(due)
  })
})
