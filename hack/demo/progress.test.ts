import { describe, expect, it } from 'vitest'
import { bar, renderProgress } from './progress.ts'

describe('bar', () => {
  it.each([
    [0, '░░░░'],
    [0.5, '██░░'],
    [0.53125, '██▏░'],
    [1, '████'],
    [7, '████'],
  ])('draws %f', (share, drawn) => {
    expect(bar(share, 4)).toBe(drawn)
  })
})

describe('renderProgress', () => {
  const row = {
    table: 'public.orders',
    phase: 'Backfilling',
    share: 0.257,
    rows: 1234567,
    note: 'reading 10.0.0.1:5433',
  }

  it('shows phase, share, rows and the note', () => {
    const [line] = renderProgress([row], 'footer', 200)
    expect(line).toContain('public.orders  Backfilling')
    expect(line).toContain(' 25%  1,234,567 rows  reading 10.0.0.1:5433')
  })

  it('never exceeds the width, so that a redraw stays in place', () => {
    for (const line of renderProgress([row], 'a footer that is long '.repeat(20), 60)) {
      expect([...line].length).toBeLessThanOrEqual(60)
    }
  })
})
