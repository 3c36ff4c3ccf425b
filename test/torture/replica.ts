import { compareTable } from '../../hack/demo/compare.ts'
import type { Site } from '../../hack/demo/site.ts'
import { waitForReplay } from '../../hack/services/postgres.ts'
import { quoteTable } from '../../lib/sql.ts'
import type { TortureTable } from './tables.ts'

/**
 * What the source's own replica has otherwise than its primary, once it has replayed everything and nobody writes any more.
 * Millrace only reads there, so this is a fault of PostgreSQL or of this stack: a copy from such a replica cannot be right, and says
 * nothing about Millrace. Seen once in 550 schedules of 2026-11: rows that were committed in subtransactions, marked on the replica
 * as never committed, while its own commit log said that they were.
 */
export async function replicaDifferences(site: Site, tables: readonly TortureTable[]): Promise<string[]> {
  await waitForReplay(site.sourceUrl, site.replicaUrl)
  const found: string[] = []
  for (const table of tables) {
    const names = { source: table, destination: table, key: table.keyless ? [] : table.key }
    const { different, rows, examples } = await compareTable(site.sourceUrl, site.replicaUrl, names)
    if (different > 0) found.push(`${quoteTable(table)}: ${different} of ${rows} rows`, ...examples)
  }
  return found
}
