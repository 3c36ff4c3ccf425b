import { MillraceError } from '../../../lib/errors.ts'
import { tableLabel } from '../../source/table.ts'
import { firstVersion } from '../first-version.ts'
import type { Ledger, LedgerTable, TableClaim } from '../ledger.ts'
import type { TextRow } from './data-api.ts'
import type { LedgerContext } from './ledger.ts'
import { sameTable, TABLE_ID, tableContent, toTable } from './ledger-rows.ts'
import { GuardFailed } from './ledger-store.ts'
import { literal } from './literals.ts'
import { foldName, foldTable, quoteTableName } from './names.ts'
import { assertSQL } from './transaction-sql.ts'
import { changed, claimedTable, conflict } from './transitions.ts'

type TablePart = Pick<Ledger, 'readTables' | 'readTable' | 'claimTable' | 'updateTable' | 'releaseTable'>

const NAME = 'millrace ledger table'

/** The part of the ledger that is about tables. */
export function ledgerTables({ store }: LedgerContext): TablePart {
  const { names, pipeline, label } = store
  const own = `pipeline = ${literal(pipeline)}`

  async function readTable(table: LedgerTable['table'], signal: AbortSignal) {
    const row = (await store.readIds(store.of(table), [TABLE_ID], signal)).get(TABLE_ID)
    return row && toTable(row)
  }

  /** Owners of the destination table, and whatever this pipeline has of the source's. */
  function registered({ table, destination }: TableClaim): string {
    const there = foldTable(destination)
    return `(${own} AND source_schema = ${literal(table.schema)} AND source_table = ${literal(table.name)}) OR (destination_schema = ${literal(there.schema)} AND destination_table = ${literal(there.name)})`
  }

  async function claim(request: TableClaim, signal: AbortSignal): Promise<LedgerTable | undefined> {
    if (foldName(request.destination.schema) === foldName(names.schema)) throw inLedger(request, names.schema)
    const found = await store.query(
      `SELECT pipeline, pipeline_label, source_schema, source_table, destination_schema, destination_table, ledger FROM ${names.tables} WHERE ${registered(request)}`,
      NAME,
      signal,
    )
    const { table, destination } = request
    const mine = found.find((row) => row.pipeline === pipeline && sameTable(sourceOf(row), table))
    if (mine && !sameTable(destinationOf(mine), foldTable(destination))) throw moved(mine, request)
    const other = found.find((row) => row !== mine)
    if (!mine && other) throw owned(other, names.tables)
    if (mine) {
      const row = await readTable(table, signal)
      if (row) return row
    }
    const ledger = await store.ensure(table, signal)
    const there = foldTable(destination)
    const values = [pipeline, label, table.schema, table.name, there.schema, there.name, nameOf(ledger)]
    const claimed = claimedTable(pipeline, request)
    const first = firstVersion()
    await store.commit(
      {
        ledger,
        name: NAME,
        locks: [names.tables],
        expect: [{ id: TABLE_ID, version: undefined }],
        work: mine
          ? []
          : [
              {
                sql: assertSQL('COUNT(*) = 0', `${names.tables} WHERE ${registered(request)}`),
                guard: 'nobody owns the table',
              },
              {
                sql: `INSERT INTO ${names.tables} (pipeline, pipeline_label, source_schema, source_table, destination_schema, destination_table, ledger) VALUES (${values.map(literal).join(', ')})`,
              },
            ],
        writes: [{ content: tableContent(claimed), from: undefined, first }],
      },
      signal,
    )
    return { ...claimed, version: first }
  }

  return {
    async readTables(signal) {
      const rows = await store.query(
        `SELECT ledger FROM ${names.tables} WHERE ${own} ORDER BY source_schema, source_table`,
        NAME,
        signal,
      )
      const ledgers = rows.map((row) => names.named(row.ledger ?? ''))
      const found = await store.readMany(ledgers, `id = ${literal(TABLE_ID)}`, signal)
      return ledgers.flatMap((ledger) => (found.get(ledger) ?? []).map(toTable))
    },

    readTable,

    async claimTable(request, signal) {
      for (let attempt = 0; ; attempt += 1) {
        try {
          const claimed = await claim(request, signal)
          if (claimed) return claimed
        } catch (error) {
          // Somebody was quicker: who, is told by reading again.
          if (!(error instanceof GuardFailed) || attempt >= 3) throw asConflict(error, request)
        }
      }
    },

    async updateTable(row, patch, signal) {
      const next = { ...row, ...patch }
      try {
        await store.commit(
          {
            ledger: store.of(row.table),
            name: NAME,
            expect: [{ id: TABLE_ID, version: row.version }],
            writes: [{ content: tableContent(next), from: row.version }],
          },
          signal,
        )
      } catch (error) {
        throw error instanceof GuardFailed ? changed(row) : error
      }
      return { ...next, version: row.version + 1n }
    },

    async releaseTable(row, signal) {
      const ledger = store.of(row.table)
      try {
        await store.commit(
          {
            ledger,
            name: NAME,
            locks: [names.tables],
            expect: [{ id: TABLE_ID, version: row.version }],
            work: [
              {
                sql: `DELETE FROM ${names.tables} WHERE ${own} AND source_schema = ${literal(row.table.schema)} AND source_table = ${literal(row.table.name)}`,
              },
              { sql: `DELETE FROM ${ledger} WHERE id = ${literal(TABLE_ID)}` },
            ],
            writes: [],
          },
          signal,
        )
      } catch (error) {
        throw error instanceof GuardFailed ? changed(row) : error
      }
    },
  }
}

/** The last part of a quoted name. */
function nameOf(quoted: string): string {
  return quoted.slice(quoted.lastIndexOf('.') + 2, -1)
}

const sourceOf = (row: TextRow) => ({ schema: row.source_schema ?? '', name: row.source_table ?? '' })
const destinationOf = (row: TextRow) => ({
  schema: row.destination_schema ?? '',
  name: row.destination_table ?? '',
})

function asConflict(error: unknown, { destination }: TableClaim): unknown {
  if (!(error instanceof GuardFailed)) return error
  return conflict(`the owner of destination table ${tableLabel(destination)} has just changed`)
}

function inLedger({ destination }: TableClaim, schema: string): MillraceError {
  return new MillraceError(
    'DestinationConflict',
    `destination table ${tableLabel(destination)} is in schema ${schema}, which is the ledger's alone: choose another spec.tables[].destination, or another spec.destination.redshift.ledgerSchema`,
    { field: 'spec.tables[].destination' },
  )
}

function owned(other: TextRow, tables: string): MillraceError {
  const where = tableLabel(destinationOf(other))
  return new MillraceError(
    'DestinationConflict',
    `destination table ${where} belongs to table ${tableLabel(sourceOf(other))} of Pipeline ${other.pipeline_label} (uid ${other.pipeline}). Choose another spec.tables[].destination; or, if that Pipeline is gone for good, run on the destination: DELETE FROM ${tables} WHERE pipeline = '${other.pipeline}'`,
    { field: 'spec.tables[].destination' },
  )
}

function moved(mine: TextRow, { table, destination }: TableClaim): MillraceError {
  return new MillraceError(
    'DestinationConflict',
    `table ${tableLabel(table)} is in destination table ${tableLabel(destinationOf(mine))} and not in ${quoteTableName(destination)}. Remove it from spec.tables, wait until it is gone from status.tables, and add it again`,
    { field: 'spec.tables[].destination' },
  )
}
