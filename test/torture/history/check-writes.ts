import type { Check, LedgerRow } from './events.ts'
import { netRows, type Transaction, transactions } from './transactions.ts'

const field = (row: LedgerRow | null | undefined, name: string) => String(row?.[name] ?? '')

/**
 * I3, I4, I8, I9: whatever is written to a table stands in one transaction with its reason in the ledger: a step through the
 * queue while nobody holds the table, or a chunk, an action or a plan of the backfill that holds it.
 */
export const writesHaveTheirReason: Check = (history) => {
  const found: string[] = []
  /** Source table and holder of each destination table. */
  const tables = new Map<string, LedgerRow>()
  for (const transaction of transactions(history)) {
    for (const table of new Set(transaction.writes.map((write) => write.table)))
      found.push(...reasons(transaction, table, tables.get(table)))
    for (const { of, new: next } of transaction.ledger)
      if (of === 'tables' && next) tables.set(destinationOf(next), next)
  }
  return found
}

function reasons(transaction: Transaction, table: string, known: LedgerRow | undefined): string[] {
  const writes = transaction.writes.filter((write) => write.table === table)
  const emptied = writes.some(({ change }) => change.op === 'truncate' || change.op === 'drop')
  const rows = netRows(writes).size > 0
  if (!rows && !emptied) return []
  const what = emptied ? 'is emptied' : 'is written to'
  const where = `transaction ${transaction.tx}: ${table}`
  const { ledger } = transaction
  const step = ledger.find(
    ({ of, old, new: next }) =>
      of === 'tables' && old && next && destinationOf(next) === table && isStep(old, next),
  )
  if (step) {
    if (field(step.old, 'held_by') !== '')
      return [`${where} ${what} from the queue while ${field(step.old, 'held_by')} holds it`]
    return []
  }
  const source = known ? `${field(known, 'source_schema')}.${field(known, 'source_table')}` : ''
  const holder = field(known, 'held_by')
  const backfill = ledger.find(
    ({ of, old, new: next }) => of === 'backfills' && old && next && sourceOf(next) === source,
  )
  const uid = field(backfill?.new, 'uid') || field(ledger.find(({ of }) => of === 'chunks')?.new, 'uid')
  if (uid === '') return [`${where} ${what} and the ledger does not say why`]
  if (uid !== holder) return [`${where} ${what} by backfill ${uid} while ${holder || 'nobody'} holds it`]
  if (!emptied) return []
  const acts = backfill?.old?.action_done === false && backfill.new?.action_done === true
  if (acts && /Truncate|Drop/.test(field(backfill?.new, 'action'))) return []
  const plans = Number(backfill?.new?.plan) > Number(backfill?.old?.plan)
  return plans ? [] : [`${where} is emptied by backfill ${uid}, which was not to, or had done it before`]
}

const isStep = (old: LedgerRow, next: LedgerRow) =>
  field(old, 'next_offset') !== field(next, 'next_offset') ||
  field(old, 'lsn') !== field(next, 'lsn') ||
  field(old, 'sequence') !== field(next, 'sequence')

const destinationOf = (row: LedgerRow) =>
  `${field(row, 'destination_schema')}.${field(row, 'destination_table')}`
const sourceOf = (row: LedgerRow) => `${field(row, 'source_schema')}.${field(row, 'source_table')}`
