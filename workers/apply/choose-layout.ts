import type { LedgerTable } from '../destination/ledger.ts'
import type { Header } from '../queue/format.ts'
import { comparePositions, ORIGIN } from '../source/position.ts'
import { headerDefinition, wideDefinition } from './definition.ts'
import { type ApplyEnv, listedTable, tableOptions } from './env.ts'
import { createLayout, type Layout } from './layout.ts'
import type { TableState } from './state.ts'

/**
 * Makes the destination table able to take the rows of a header, and says how they stand in it. Returns the ledger's row
 * too, which changes when rows turn out to be gone.
 */
export async function chooseLayout(
  env: ApplyEnv,
  { table, label }: TableState,
  row: LedgerTable,
  header: Header,
  signal: AbortSignal,
): Promise<{ layout: Layout; row: LedgerTable }> {
  const catalog = await env.source.definition(table, listedTable(env.spec(), table)?.columns, signal)
  const definition = headerDefinition(header, catalog)
  const now = await noticeLoss(env, label, row, signal)
  const options = tableOptions(env.spec())
  const { columns } = await env.destination.ensureTable(row.destination, definition, options, signal)
  return { layout: createLayout(header.columns, wideDefinition(definition, catalog, columns)), row: now }
}

/** A destination table that somebody has dropped is made anew, but its rows are gone. */
async function noticeLoss(
  env: ApplyEnv,
  label: string,
  row: LedgerTable,
  signal: AbortSignal,
): Promise<LedgerTable> {
  if (!row.historyComplete || comparePositions(row.position, ORIGIN) === 0) return row
  const { exists } = await env.destination.inspectTable(row.destination, signal)
  if (exists) return row
  env.log.error({ table: label }, 'The destination table is gone, its history is incomplete')
  return await env.destination.ledger.updateTable(row, { historyComplete: false }, signal)
}
