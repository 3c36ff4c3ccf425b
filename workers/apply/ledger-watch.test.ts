import { afterEach, describe, expect, it, vi } from 'vitest'
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
async function watching(between: (scene: ReturnType<typeof scenery>) => void): Promise<string[]> {
  vi.useFakeTimers()
  const scene = scenery()
  const stop = new AbortController()
  const worker = { state: scene.state, failed: (error: Error) => scene.told.push(error.message) }
  const env = {
    destination: {
      ledger: {
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
  const watch = watchLedger(env as unknown as ApplyEnv, new Map([['s.t', worker]]) as never, stop.signal)
  const ended = expect(watch).rejects.toThrow()
  await vi.advanceTimersByTimeAsync(LOOK)
  between(scene)
  await vi.advanceTimersByTimeAsync(LOOK)
  stop.abort()
  await ended
  return scene.told
}

function scenery() {
  const state = createState(table)
  takeRow(state, row)
  state.columns = ['id']
  return { state, ledger: row, target: filled, told: [] as string[] }
}

describe('watchLedger', () => {
  it('tells that a table was emptied by hand', async () => {
    const told = await watching((scene) => {
      scene.target = { ...filled, file: '2' }
    })
    expect(told).toEqual([expect.stringContaining('the destination table was emptied')])
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
