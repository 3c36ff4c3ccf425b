import { describe, expect, it } from 'vitest'
import { parseVisibility, wasSeen } from './visibility.ts'

const CYCLE = 2 ** 32

describe('wasSeen', () => {
  it.each([
    ['ended before', '100:110:103,105', 99, true],
    ['ended in between', '100:110:103,105', 104, true],
    ['running', '100:110:103,105', 103, false],
    ['the oldest running', '103:110:103,105', 103, false],
    ['begun later', '100:110:103,105', 110, false],
    ['much later', '100:110:103,105', 5_000, false],
    ['nothing running', '100:100:', 99, true],
    ['nothing running, later', '100:100:', 100, false],
    ['before a wrap-around', `${CYCLE + 5}:${CYCLE + 10}:`, CYCLE - 3, true],
    ['after a wrap-around', `${CYCLE - 5}:${CYCLE - 2}:${CYCLE - 4}`, 3, false],
    ['running before it', `${CYCLE - 5}:${CYCLE + 3}:${CYCLE - 4}`, CYCLE - 4, false],
    ['ended before it', `${CYCLE - 5}:${CYCLE + 3}:${CYCLE - 4}`, CYCLE - 3, true],
    ['many cycles on', `${7 * CYCLE + 100}:${7 * CYCLE + 110}:${7 * CYCLE + 103}`, 103, false],
    ['many cycles on, ended', `${7 * CYCLE + 100}:${7 * CYCLE + 110}:${7 * CYCLE + 103}`, 104, true],
  ])('%s', (_name, snapshot, xid, seen) => {
    expect(wasSeen(parseVisibility(snapshot), xid)).toBe(seen)
  })

  it('refuses what is no snapshot', () => {
    expect(() => parseVisibility('00000003-1')).toThrow(/not a snapshot/)
  })
})
