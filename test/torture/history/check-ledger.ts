import { type Check, type LedgerEvent, type LedgerRow, of } from './events.ts'
import { lsn } from './lsn.ts'

const text = (row: LedgerRow | null, name: string) => String(row?.[name] ?? '')
const number = (row: LedgerRow | null, name: string) => Number(row?.[name] ?? 0)
const tableOf = (row: LedgerRow | null) => `${text(row, 'source_schema')}.${text(row, 'source_table')}`

/** I4, R15, R24: the row of a table goes from version to version, and only forward through the queue. */
export const ledgerMovesForward: Check = (history) => {
  const found: string[] = []
  const last = new Map<string, number>()
  for (const { old, new: next } of ofTable(history, 'tables')) {
    const table = tableOf(next ?? old)
    if (next === null) continue
    const version = number(next, 'version')
    const before = last.get(table)
    last.set(table, version)
    if (old === null) {
      if (before !== undefined && version <= before)
        found.push(`the ledger's row of ${table} was made anew with version ${version}, after ${before}`)
      continue
    }
    if (version !== number(old, 'version') + 1 || (before !== undefined && number(old, 'version') !== before))
      found.push(
        `the ledger's row of ${table} went from version ${number(old, 'version')} to ${version}, after ${before}`,
      )
    if (comparePlaces(old, next) > 0)
      found.push(`the ledger's position of ${table} went back from ${place(old)} to ${place(next)}`)
    const same = text(old, 'incarnation') === text(next, 'incarnation')
    if (same && number(next, 'next_offset') < number(old, 'next_offset'))
      found.push(
        `the ledger's offset of ${table} went back from ${number(old, 'next_offset')} to ${number(next, 'next_offset')}`,
      )
  }
  return found
}

const NEXT: Readonly<Record<string, readonly string[]>> = {
  '': ['held', 'closed'],
  held: ['held', 'copied', 'closed'],
  copied: ['copied', 'drained', 'closed'],
  drained: ['drained'],
  closed: ['closed'],
}

/** R5, I8: the states of a backfill, its action once, its attempts and plans only forward, and copied only when all is. */
export const backfillsGoForward: Check = (history) => {
  const found: string[] = []
  const open = openChunks()
  for (const event of of(history, 'ledger')) {
    if (event.of === 'chunks') open.see(event)
    if (event.of !== 'backfills' || event.new === null) continue
    const { old, new: next } = event
    const name = text(next, 'name')
    const state = text(next, 'state')
    if (!NEXT[text(old, 'state')]?.includes(state))
      found.push(`backfill ${name} went from ${text(old, 'state') || 'nothing'} to ${state}`)
    if (old && number(next, 'version') !== number(old, 'version') + 1)
      found.push(`backfill ${name} went from version ${number(old, 'version')} to ${number(next, 'version')}`)
    for (const field of ['attempt', 'plan'])
      if (old && number(next, field) < number(old, field))
        found.push(`backfill ${name}: ${field} went back to ${number(next, field)}`)
    if (old?.action_done === true && next.action_done !== true)
      found.push(`backfill ${name}: its action is not done any more`)
    if (state === 'copied' && text(old, 'state') === 'held') {
      if (next.action_done !== true) found.push(`backfill ${name} is copied and its action was not done`)
      const left = open.count(text(next, 'uid'), number(next, 'plan'))
      if (left > 0) found.push(`backfill ${name} is copied and ${left} chunks of its plan are not`)
    }
  }
  return found
}

/** I9, R6, R7: a chunk is written once, by the attempt that holds the table, after the action. */
export const chunksAreWrittenOnce: Check = (history) => {
  const found: string[] = []
  const over = new Set<string>()
  for (const { old, new: next, backfill } of ofTable(history, 'chunks')) {
    if (next === null || text(next, 'state') === 'planned') {
      if (next !== null && over.has(chunkKey(next)))
        found.push(`chunk ${chunkKey(next)} was over and is planned again`)
      continue
    }
    const key = chunkKey(next)
    const what = `chunk ${key} becomes ${text(next, 'state')}`
    if (over.has(key)) found.push(`${what}, and was over already`)
    over.add(key)
    if (text(old, 'state') !== 'planned') found.push(`${what}, and was ${text(old, 'state') || 'not there'}`)
    if (text(backfill, 'state') !== 'held')
      found.push(`${what} while its backfill is ${text(backfill, 'state')}`)
    if (text(next, 'state') === 'split') continue
    if (number(next, 'attempt') !== number(backfill, 'attempt'))
      found.push(
        `${what} by attempt ${number(next, 'attempt')}, and attempt ${number(backfill, 'attempt')} is the last`,
      )
    if (number(next, 'plan') !== number(backfill, 'plan'))
      found.push(`${what}, and plan ${number(backfill, 'plan')} is the last`)
    if (backfill?.action_done !== true) found.push(`${what} before the action was done`)
  }
  return found
}

function openChunks() {
  const open = new Map<string, Set<string>>()
  const plan = (uid: string, number: number) => `${uid} ${number}`
  return {
    see({ new: next }: LedgerEvent) {
      if (next === null) return
      const key = plan(text(next, 'uid'), number(next, 'plan'))
      const chunks = open.get(key) ?? new Set()
      open.set(key, chunks)
      if (text(next, 'state') === 'planned') chunks.add(text(next, 'chunk'))
      else chunks.delete(text(next, 'chunk'))
    },
    count: (uid: string, number: number) => open.get(plan(uid, number))?.size ?? 0,
  }
}

const chunkKey = (row: LedgerRow) => `${text(row, 'uid')}/${text(row, 'plan')}/${text(row, 'chunk')}`

const ofTable = (history: Parameters<Check>[0], name: LedgerEvent['of']) =>
  of(history, 'ledger').filter((event) => event.of === name)

const place = (row: LedgerRow) => `${text(row, 'epoch')}:${text(row, 'lsn')}:${text(row, 'sequence')}`

function comparePlaces(a: LedgerRow, b: LedgerRow): number {
  const epochs = number(a, 'epoch') - number(b, 'epoch')
  if (epochs !== 0) return epochs
  const [x, y] = [lsn(text(a, 'lsn')), lsn(text(b, 'lsn'))]
  if (x !== y) return x < y ? -1 : 1
  return number(a, 'sequence') - number(b, 'sequence')
}
