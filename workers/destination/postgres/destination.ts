import type { PostgresDestination } from '../../../crds/pipeline.ts'
import { quoteTable } from '../../../lib/sql.ts'
import { tableLabel } from '../../source/table.ts'
import { destinationTarget } from '../../source/targets.ts'
import type { Destination } from '../destination.ts'
import type { DestinationOptions } from '../open.ts'
import { runAction } from './action.ts'
import { checkServer } from './check.ts'
import { writeChunk } from './chunk.ts'
import { openComparison } from './comparison.ts'
import { describeTables, wasEmptied } from './describe.ts'
import { ensureTable } from './ensure-table.ts'
import { unavailable } from './failures.ts'
import { flush, type TargetCache } from './flush.ts'
import { createLedger, type LedgerContext } from './ledger.ts'
import { ledgerNames } from './ledger-schema.ts'
import { createSessions } from './sessions.ts'

/** Enough for the apply worker's tables at work, and for a backfill's readers at their default number. */
const CONNECTIONS = 8

export interface PostgresDestinationOptions extends Omit<DestinationOptions, 'spec'> {
  readonly destination: PostgresDestination
}

/** A PostgreSQL database as a destination. */
export function openPostgresDestination(options: PostgresDestinationOptions): Destination {
  const { destination, secrets, process, log } = options
  const target = destinationTarget(destination, secrets, process)
  const sessions = createSessions(target, options.maxConnections ?? CONNECTIONS)
  const context: LedgerContext = {
    sessions: {
      ...sessions,
      use: (signal, work) => sessions.use(signal, work).catch(rethrow),
      transaction: (signal, work) => sessions.transaction(signal, work).catch(rethrow),
    },
    names: ledgerNames(destination.ledgerSchema),
    pipeline: options.pipelineUid,
    label: options.pipelineLabel,
  }
  const ledger = createLedger(context)
  const cache: TargetCache = new Map()

  return {
    kind: 'postgres',
    ledger,

    async check(signal) {
      await context.sessions.use(signal, (session) => checkServer(session, target, destination.schema))
      await ledger.open(signal)
    },

    // No cast anywhere: the text that COPY writes at the source is the text that the log carries, and it is what COPY reads
    // here, whatever the type. (`::text` would be another one: it cuts the blanks of character(n) and writes `true` for t.)
    columnExpression: (_column, source) => source,
    copyOptions: '(FORMAT text)',
    convertValue: (_column, text) => text,

    inspectTable: (table, signal) =>
      context.sessions.use(signal, async (session) => {
        const name = quoteTable(table)
        const there = await session.query('SELECT to_regclass($1) IS NOT NULL AS there', [name])
        if (there[0]?.there !== 't') return { exists: false, empty: true }
        const rows = await session.query(`SELECT 1 FROM ${name} LIMIT 1`)
        return { exists: true, empty: rows.length === 0 }
      }),

    describeTables: (tables, signal) =>
      context.sessions.use(signal, (session) => describeTables(session, tables)),
    wasEmptied: (table, reshaped, signal) =>
      context.sessions.use(signal, (session) => wasEmptied(session, table, reshaped)),

    async ensureTable(table, definition, tableOptions, signal) {
      const request = { target: table, definition, options: tableOptions }
      const { table: found, created, altered } = await ensureTable(context.sessions, request, signal)
      cache.set(quoteTable(table), found)
      if (created || altered) {
        const what = created ? 'Created a destination table' : 'Altered a destination table'
        log.info({ table: tableLabel(table), source: tableLabel(definition) }, what)
      }
      return { columns: found.columns.map((column) => column.name) }
    },

    flush: (batch, signal) => flush(context, cache, batch, signal),
    runAction: (request, signal) => runAction(context, request, signal),
    writeChunk: (request, signal) => writeChunk(context, request, signal),
    compare: (table, definition, encoding, signal) =>
      openComparison(context.sessions, table, definition, encoding, signal),
    close: () => sessions.close(),
  }
}

function rethrow(error: unknown): never {
  throw unavailable(error)
}
