import type { RedshiftDestination } from '../../../crds/redshift.ts'
import type { ChunkRequest, Destination } from '../destination.ts'
import type { DestinationOptions } from '../open.ts'
import { runAction } from './action.ts'
import { type DataApiCalls, openDataApi, openObjects } from './aws.ts'
import { createBuffers } from './buffers.ts'
import { readTarget } from './catalog.ts'
import { checkWarehouse } from './check.ts'
import { checkFiles } from './check-files.ts'
import { writeChunk } from './chunk.ts'
import { createChunkGroups } from './chunk-group.ts'
import { columnExpression, columnRuleOf, columnRulesOf, convertValue } from './columns.ts'
import { openComparison } from './comparison.ts'
import type { RedshiftContext } from './context.ts'
import { COPY_OPTIONS } from './csv.ts'
import { createDataApi, type DataApiOptions } from './data-api.ts'
import { ensureTable } from './ensure-table.ts'
import { createFiles } from './files.ts'
import { flush } from './flush.ts'
import { createLedger } from './ledger.ts'
import { createKnown } from './ledger-known.ts'
import { ledgerNames } from './ledger-names.ts'
import { createLedgerStore } from './ledger-store.ts'
import { loadRows } from './load-rows.ts'
import { foldName, quoteTableName } from './names.ts'
import { redshiftSettings } from './settings.ts'

/** Enough for the apply worker's tables at work; Redshift has 500 for everybody. */
const STATEMENTS = 8

export interface RedshiftDestinationOptions extends Omit<DestinationOptions, 'spec'> {
  readonly destination: RedshiftDestination
  /** For tests: counts calls, or stands between them. */
  readonly onCall?: DataApiOptions['onCall']
  readonly wrap?: (calls: DataApiCalls) => DataApiCalls
}

/** An Amazon Redshift warehouse as a destination, through the Data API and S3. */
export function openRedshiftDestination(options: RedshiftDestinationOptions): Destination {
  const { destination, secrets, log, pipelineUid, pipelineLabel } = options
  const now = () => Date.now()
  const api = createDataApi({
    destination,
    open: async () => {
      const calls = await openDataApi({ destination, secrets })
      return options.wrap?.(calls) ?? calls
    },
    concurrency: options.maxConnections ?? STATEMENTS,
    ...(options.onCall && { onCall: options.onCall }),
  })
  const store = createLedgerStore({
    api,
    names: ledgerNames(destination.ledgerSchema),
    pipeline: pipelineUid,
    label: pipelineLabel,
    log,
  })
  const files = createFiles({
    destination,
    pipeline: pipelineUid,
    open: () => openObjects({ destination, secrets }),
    log,
    now,
  })
  const known = createKnown()
  const settings = redshiftSettings(destination)
  const rules = columnRulesOf(settings)
  const ruleOf = columnRuleOf(rules)
  const policy = destination.onUnfit
  const onUnfit = options.onUnfit ?? (() => {})
  const context: RedshiftContext = {
    store,
    known,
    files,
    buffers: createBuffers(),
    rules,
    settings,
    policy,
    onUnfit,
    targets: new Map(),
    log,
    now,
  }
  const ledger = createLedger({ store, known, now, loadRows: (...request) => loadRows(context, ...request) })
  const groups = createChunkGroups(context)

  async function readLedger({ fence, plan }: ChunkRequest, signal: AbortSignal): Promise<void> {
    await ledger.readBackfill(fence.uid, signal)
    await ledger.readChunks(fence.uid, plan, signal)
  }

  return {
    kind: 'redshift',
    ledger,

    async check(signal) {
      await checkWarehouse(store, destination, signal)
      await checkFiles(files, store, signal)
      await ledger.open(signal)
    },

    columnExpression(column, source, table) {
      return columnExpression(ruleOf(table, column), source, policy)
    },
    copyOptions: COPY_OPTIONS,
    convertValue(column, text, table) {
      return convertValue(ruleOf(table, column), text, policy, () => onUnfit(table, column.name, 1))
    },

    async inspectTable(table, signal) {
      const found = await readTarget(store, table, signal)
      if (!found) return { exists: false, empty: true }
      const rows = await store.query(
        `SELECT 1 AS found FROM ${quoteTableName(table)} LIMIT 1`,
        'millrace look for rows',
        signal,
      )
      const names = new Set(found.columns.map(({ name }) => name))
      const facts = { id: found.id, has: (column: string) => names.has(foldName(column)) }
      return { exists: true, empty: rows.length === 0, facts }
    },

    async ensureTable(target, definition, tableOptions, signal) {
      const found = await ensureTable(context, { target, definition, options: tableOptions }, signal)
      // The source's own spelling, where the two names are one.
      const spelling = new Map(definition.columns.map(({ name }) => [name.toLowerCase(), name]))
      return { id: found.id, columns: found.columns.map(({ name }) => spelling.get(name) ?? name) }
    },

    flush: (batch, signal) => flush(context, batch, signal),
    runAction: (request, signal) => runAction(context, request, signal),
    writeChunk: (request, signal) => writeChunk(context, groups, readLedger, request, signal),
    compare: (table, definition, _encoding, signal) => openComparison(context, table, definition, signal),
    async close() {
      await files.close()
      await api.close()
    },
  }
}
