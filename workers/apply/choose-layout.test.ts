import { beforeEach, describe, expect, it } from 'vitest'
import type { Destination, InspectedTable } from '../destination/destination.ts'
import type { LedgerTable } from '../destination/ledger.ts'
import type { Header } from '../queue/format.ts'
import { chooseLayout } from './choose-layout.ts'
import type { ApplyEnv } from './env.ts'
import { LEDGER_ROW } from './ledger-row-fixture.ts'
import { createState, takeRow } from './state.ts'

const signal = new AbortController().signal
const header: Header = {
  table: ['public', 't'],
  epoch: 1,
  inc: 'a',
  columns: [
    ['id', 'integer', 1],
    ['Value', 'text', 0],
  ],
} as unknown as Header
const written: LedgerTable = { ...LEDGER_ROW, position: { epoch: 1, lsn: 5n, sequence: 0 } }

/** The destination table, as one that is looked at only when it is written finds it. */
let there: { id: string; columns: string[] } | undefined

beforeEach(() => {
  there = { id: '7', columns: ['id', 'value'] }
})

const destination = {
  inspectTable: async (): Promise<InspectedTable> => {
    const found = there
    return found
      ? {
          exists: true,
          empty: false,
          facts: { id: found.id, has: (name) => found.columns.includes(name.toLowerCase()) },
        }
      : { exists: false, empty: true }
  },
  ensureTable: async () => {
    there = { id: there?.id ?? '9', columns: ['id', 'value'] }
    return { id: there.id, columns: ['id', 'Value'] }
  },
  ledger: {
    updateTable: async (row: LedgerTable, patch: object) => ({ ...row, ...patch, version: row.version + 1n }),
  },
} as unknown as Destination

const env = {
  destination,
  source: { definition: async () => undefined },
  spec: () => ({ tables: [], apply: { deletes: 'Hard' } }),
  log: { error: () => undefined },
} as unknown as ApplyEnv

/** What the ledger says after rows were written, `between`, and rows came again. */
async function again(between: (state: ReturnType<typeof createState>) => void): Promise<string> {
  const state = createState(written.table)
  takeRow(state, written)
  const first = await chooseLayout(env, state, written, header, signal)
  expect(first.row).toEqual(written)
  between(state)
  const { row } = await chooseLayout(env, state, written, header, signal)
  expect(row.needsEmptying).toBe(row.stopCode === 'DestinationChanged')
  return row.stopMessage
}

describe('a destination that only a write tells what was done to it', () => {
  it('has lost a column', async () => {
    const message = await again(() => {
      there = { id: '7', columns: ['id'] }
    })
    expect(message).toContain('column "Value" of the destination table was dropped or renamed')
  })

  it('has another table under the name', async () => {
    const message = await again(() => {
      there = { id: '8', columns: ['id', 'value'] }
    })
    expect(message).toContain('was dropped and made again')
  })

  it('has no table any more', async () => {
    const message = await again(() => {
      there = undefined
    })
    expect(message).toContain('was dropped')
  })

  it('was left alone', async () => {
    expect(await again(() => undefined)).toBe('')
  })

  it('has the table that another pod has made', async () => {
    const message = await again((state) => {
      takeRow(state, { ...written, version: 9n })
      there = { id: '8', columns: ['id', 'value'] }
    })
    expect(message).toBe('')
  })
})
