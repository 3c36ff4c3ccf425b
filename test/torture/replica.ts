import { compareTable } from '../../hack/demo/compare.ts'
import type { Site } from '../../hack/demo/site.ts'
import { waitForReplay } from '../../hack/services/postgres.ts'
import { quoteTable } from '../../lib/sql.ts'
import type { TortureTable } from './tables.ts'

/**
 * What the source's replica has otherwise than its primary, once it has replayed everything and nobody writes any more: readers of a
 * replica can leave marks there (`exportSnapshot` tells how), and Millrace is the only one that reads it.
 */
export async function replicaDifferences(site: Site, tables: readonly TortureTable[]): Promise<string[]> {
  await waitForReplay(site.sourceUrl, site.replicaUrl)
  const found: string[] = []
  for (const table of tables) {
    const names = { source: table, destination: table, key: table.keyless ? [] : table.key }
    const { different, rows, examples } = await compareTable(site.sourceUrl, site.replicaUrl, names)
    if (different > 0)
      found.push(`${quoteTable(table)}: ${different} of ${rows} rows differ on the replica`, ...examples)
  }
  return found
}
