import type { Destination, InspectedTable } from '../destination/destination.ts'
import type { LedgerTable } from '../destination/ledger.ts'
import type { Header } from '../queue/format.ts'
import { type TableName, tableLabel } from '../source/table.ts'
import { headerDefinition, wideDefinition } from './definition.ts'
import { type ApplyEnv, listedTable, tableOptions } from './env.ts'
import { isUntouched, lostFacts } from './facts.ts'
import { createLayout, type Layout } from './layout.ts'
import { columnGone, DROPPED, REMADE, type Tampering } from './ledger-check.ts'
import { tellSlow } from './slow.ts'
import type { TableState } from './state.ts'

/**
 * Makes the destination table able to take the rows of a header, and says how they stand in it. Returns the ledger's row
 * too, which changes when rows turn out to be gone.
 */
export async function chooseLayout(
  env: ApplyEnv,
  state: TableState,
  row: LedgerTable,
  header: Header,
  signal: AbortSignal,
): Promise<{ layout: Layout; row: LedgerTable }> {
  const { table } = state
  const filter = listedTable(env.spec(), table)?.columns
  const catalog = await env.source.definition(table, filter, signal)
  const definition = headerDefinition(header, catalog, filter)
  const now = await noticeLoss(env, state, row, signal)
  const options = tableOptions(env.spec())
  const ensured = env.destination.ensureTable(row.destination, definition, options, signal)
  const { columns, id } = await tellSlow(env, state, ensured)
  state.columns = definition.columns.map(({ name }) => name)
  state.target = id
  return { layout: createLayout(header.columns, wideDefinition(definition, catalog, columns)), row: now }
}

/**
 * A destination table that somebody has dropped is made anew, but its rows are gone; so are the values of a column that was
 * there and is not any more.
 */
async function noticeLoss(
  env: ApplyEnv,
  state: TableState,
  row: LedgerTable,
  signal: AbortSignal,
): Promise<LedgerTable> {
  if (row.needsEmptying || isUntouched(row)) return row
  const tampering = await whatIsGone(env, row, state, signal)
  if (!tampering) return row
  const { code, message } = tampering
  env.log.error({ table: state.label, reason: message }, 'Changed by hand')
  return await env.destination.ledger.updateTable(row, lostFacts(code, message), signal)
}

async function whatIsGone(
  { destination }: ApplyEnv,
  row: LedgerTable,
  { columns, target }: TableState,
  signal: AbortSignal,
): Promise<Tampering | undefined> {
  const found = await look(destination, row.destination, signal)
  if (!found) return row.historyComplete ? DROPPED : undefined
  if (target !== undefined && target !== found.id) return REMADE
  const gone = columns.find((name) => !found.has(name))
  return gone === undefined ? undefined : columnGone(gone)
}

async function look(
  destination: Destination,
  table: TableName,
  signal: AbortSignal,
): Promise<InspectedTable['facts']> {
  if (!destination.describeTables) return (await destination.inspectTable(table, signal)).facts
  const found = (await destination.describeTables([table], signal)).get(tableLabel(table))
  return found && { id: found.id, has: (name) => found.columns.includes(name) }
}
