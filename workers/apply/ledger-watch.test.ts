import { afterEach, describe, expect, it, vi } from 'vitest'
import { MillraceError } from '../../lib/errors.ts'
import type { TargetFacts } from '../destination/destination.ts'
import type { LedgerTable } from '../destination/ledger.ts'
import { ORIGIN } from '../source/position.ts'
import type { ApplyEnv } from './env.ts'
import { LEDGER_ROW } from './ledger-row-fixture.ts'
import { watchLedger } from './ledger-watch.ts'
import { createState, takeRow } from './state.ts'

const table = { schema: 's', name: 't' }
const row: LedgerTable = {
  ...LEDGER_ROW,
  table,
  destination: table,
  version: 7n,
  position: { epoch: 1, lsn: 5n, sequence: 0 },
}
const filled: TargetFacts = { id: '1', file: '1', columns: ['id'], shape: '', empty: false }

/** Longer than the watch waits between two looks, milliseconds. */
const LOOK = 41_000

afterEach(() => {
  vi.useRealTimers()
})

/** Watches one table of a pod that has nothing to do, and tells what it has said of it. */
async function watching(between: (scene: ReturnType<typeof scenery>) => void, longer = 0): Promise<string[]> {
  vi.useFakeTimers()
  const scene = scenery()
  const stop = new AbortController()
  const worker = { state: scene.state, failed: (error: Error) => scene.told.push(error.message) }
  const env = {
    destination: {
      ledger: {
        open: async () => {
          if (scene.refusal) throw scene.refusal
        },
        readTables: async () => [scene.ledger],
        updateTable: async (known: LedgerTable, patch: object) => ({
          ...known,
          ...patch,
          version: known.version + 1n,
        }),
      },
      describeTables: async () => new Map([['s.t', scene.target]]),
      wasEmptied: async () => true,
    },
    log: { error: () => undefined, debug: () => undefined },
    changed: () => undefined,
  }
  const report = (error: Error | undefined) => scene.problems.push(error?.message)
  const watch = watchLedger(
    env as unknown as ApplyEnv,
    new Map([['s.t', worker]]) as never,
    report,
    stop.signal,
  )
  const ended = expect(watch).rejects.toThrow()
  await vi.advanceTimersByTimeAsync(LOOK)
  between(scene)
  await vi.advanceTimersByTimeAsync(LOOK + longer)
  stop.abort()
  await ended
  return scene.told
}

function scenery() {
  const state = createState(table)
  takeRow(state, row)
  state.columns = ['id']
  return {
    state,
    ledger: row,
    target: filled,
    refusal: undefined as Error | undefined,
    told: [] as string[],
    problems: [] as (string | undefined)[],
  }
}

describe('watchLedger', () => {
  it('tells that a table was emptied by hand', async () => {
    const told = await watching((scene) => {
      scene.target = { ...filled, file: '2' }
    })
    expect(told).toEqual([expect.stringContaining('the destination table was emptied')])
  })

  it.each([
    ['at once', new MillraceError('DestinationConflict', 'a newer Millrace'), 0, 1],
    ['not of what may pass', new MillraceError('DestinationUnavailable', 'away'), 0, 0],
    ['soon of what does not pass', new MillraceError('DestinationUnavailable', 'away'), 10_000, 1],
  ])('says that it cannot look, %s', async (_when, refusal, longer, times) => {
    const problems: (string | undefined)[][] = []
    await watching((scene) => {
      scene.refusal = refusal
      scene.problems.length = 0
      problems.push(scene.problems)
    }, longer)
    expect(problems).toEqual([Array(times).fill(expect.stringContaining(refusal.message))])
  })

  it('does not take for it what another pod has done, whose word it has read since', async () => {
    const told = await watching((scene) => {
      scene.target = { ...filled, file: '2' }
      scene.ledger = { ...row, version: 9n }
      takeRow(scene.state, scene.ledger)
    })
    expect(told).toEqual([])
  })

  it('does not take for it what another pod has done, whose word it has not read yet', async () => {
    const told = await watching((scene) => {
      scene.target = { ...filled, file: '2' }
      scene.ledger = { ...row, version: 9n, position: ORIGIN }
    })
    expect(told).toEqual([])
  })
})
