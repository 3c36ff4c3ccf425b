import { MillraceError } from '../../../lib/errors.ts'
import { quoteTable } from '../../../lib/sql.ts'
import { tableLabel } from '../../source/table.ts'
import { firstVersion } from '../first-version.ts'
import type { Ledger, LedgerTable, LedgerTableFacts } from '../ledger.ts'
import type { LedgerContext } from './ledger.ts'
import { factColumns, sameTable, TABLE_COLUMNS, toTable } from './ledger-rows.ts'
import type { LedgerNames } from './ledger-schema.ts'
import type { Session } from './sessions.ts'

type TablePart = Pick<Ledger, 'readTables' | 'readTable' | 'claimTable' | 'updateTable' | 'releaseTable'>

/** The part of the ledger that is about tables. */
export function ledgerTables({ sessions, names, pipeline, label }: LedgerContext): TablePart {
  const own = 'pipeline = $1 AND source_schema = $2 AND source_table = $3'

  return {
    readTables: (signal) => sessions.use(signal, (session) => listTables(session, names, pipeline)),

    readTable: (table, signal) =>
      sessions.use(signal, async (session) => {
        const rows = await session.query(`SELECT ${TABLE_COLUMNS} FROM ${names.tables} WHERE ${own}`, [
          pipeline,
          table.schema,
          table.name,
        ])
        return rows[0] && toTable(rows[0])
      }),

    claimTable: (claim, signal) =>
      sessions.use(signal, async (session) => {
        if (claim.destination.schema === names.schema) throw ownSchema(claim.destination)
        await session.query(
          `INSERT INTO ${names.tables} (pipeline, pipeline_label, source_schema, source_table, destination_schema,
             destination_table, topic, history_complete, unknown_history, version)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
          [
            pipeline,
            label,
            claim.table.schema,
            claim.table.name,
            claim.destination.schema,
            claim.destination.name,
            claim.topic,
            String(claim.historyComplete),
            String(claim.unknownHistory),
            firstVersion().toString(),
          ],
        )
        const found = await session.query(
          `SELECT ${TABLE_COLUMNS}, pipeline_label FROM ${names.tables}
           WHERE ${own} OR destination_schema = $4 AND destination_table = $5`,
          [pipeline, claim.table.schema, claim.table.name, claim.destination.schema, claim.destination.name],
        )
        const mine = found
          .map(toTable)
          .find((row) => row.pipeline === pipeline && sameTable(row.table, claim.table))
        if (mine && sameTable(mine.destination, claim.destination)) return mine
        if (mine) throw moved(mine, claim.destination)
        const other = found[0]
        // Somebody's row was there for the insert and is gone now: the next try finds the table free.
        if (!other)
          throw conflict(`the owner of destination table ${tableLabel(claim.destination)} has just changed`)
        throw owned(toTable(other), other.pipeline_label ?? '', names.tables)
      }),

    updateTable: (row, patch, signal) =>
      sessions.use(signal, (session) => compareAndSet(session, names.tables, row, patch)),

    releaseTable: (row, signal) =>
      sessions.use(signal, async (session) => {
        const gone = await session.query(
          `DELETE FROM ${names.tables} WHERE ${own} AND version = $4 RETURNING 1`,
          [pipeline, row.table.schema, row.table.name, row.version.toString()],
        )
        if (gone.length === 0) throw changed(row)
      }),
  }
}

/**
 * Changes the table's row if its version is still `row.version`, inside whatever transaction the session is in.
 *
 * @param only a further condition on the row
 */
export async function compareAndSet(
  session: Pick<Session, 'query'>,
  tables: string,
  row: LedgerTable,
  patch: Partial<LedgerTableFacts>,
  only = 'true',
): Promise<LedgerTable> {
  const facts = factColumns(patch)
  const sets = facts.map(([column], index) => `${column} = $${index + 5}, `).join('')
  const rows = await session.query(
    `UPDATE ${tables} SET ${sets}version = version + 1, changed_at = now()
     WHERE pipeline = $1 AND source_schema = $2 AND source_table = $3 AND version = $4 AND ${only}
     RETURNING ${TABLE_COLUMNS}`,
    [
      row.pipeline,
      row.table.schema,
      row.table.name,
      row.version.toString(),
      ...facts.map(([, value]) => value),
    ],
  )
  if (!rows[0]) throw changed(row)
  return toTable(rows[0])
}

export function changed(row: LedgerTable): MillraceError {
  return conflict(
    `the ledger's row of table ${tableLabel(row.table)} is not at version ${row.version} any more: another process has changed it`,
  )
}

function ownSchema(wanted: LedgerTable['destination']): MillraceError {
  return new MillraceError(
    'DestinationConflict',
    `destination table ${tableLabel(wanted)} is in the ledger's own schema: choose another spec.tables[].destination, or another spec.destination.postgres.ledgerSchema`,
    { field: 'spec.tables[].destination' },
  )
}

function conflict(message: string): MillraceError {
  return new MillraceError('LedgerConflict', message)
}

function owned(other: LedgerTable, label: string, tables: string): MillraceError {
  const where = tableLabel(other.destination)
  return new MillraceError(
    'DestinationConflict',
    `destination table ${where} belongs to table ${tableLabel(other.table)} of Pipeline ${label} (uid ${other.pipeline}). Choose another spec.tables[].destination; or, if that Pipeline is gone for good, run on the destination: DELETE FROM ${tables} WHERE pipeline = '${other.pipeline}'`,
    { field: 'spec.tables[].destination' },
  )
}

function moved(mine: LedgerTable, wanted: LedgerTable['destination']): MillraceError {
  return new MillraceError(
    'DestinationConflict',
    `table ${tableLabel(mine.table)} is in destination table ${tableLabel(mine.destination)} and not in ${quoteTable(wanted)}. Remove it from spec.tables, wait until it is gone from status.tables, and add it again`,
    { field: 'spec.tables[].destination' },
  )
}

/** All tables of the pipeline, by name. */
export async function listTables(
  session: Pick<Session, 'query'>,
  names: LedgerNames,
  pipeline: string,
): Promise<LedgerTable[]> {
  const rows = await session.query(
    `SELECT ${TABLE_COLUMNS} FROM ${names.tables} WHERE pipeline = $1 ORDER BY source_schema, source_table`,
    [pipeline],
  )
  return rows.map(toTable)
}
