import { isDeepStrictEqual } from 'node:util'
import type { Logger } from '../../lib/log.ts'
import type { Connection } from '../source/connect.ts'
import type { Member } from '../source/publication.ts'
import { type TableName, tableLabel } from '../source/table.ts'
import { readDigests, readFilledLeaves, readFingerprint } from './catalog.ts'
import type { Directory } from './directory.ts'
import {
  compareFingerprints,
  type Fingerprint,
  newLeaves,
  type TableChange,
  withPast,
} from './fingerprint.ts'

/** Notices what happens to tables without row events (rule R20). */
export interface CatalogWatch {
  /**
   * Looks at one table. Says whether it differs from what was seen last.
   *
   * @param named names of the columns that the log speaks of
   */
  look(connection: Connection, table: TableName, oid: number, named?: readonly string[]): Promise<boolean>
  /** By name, what columns that were seen being added gave to the rows that were there. */
  added(table: TableName): ReadonlyMap<string, string | null>
  /** Looks at all whose digest differs; returns those. */
  lookAtAll(connection: Connection, members: readonly Member[]): Promise<Member[]>
}

export interface CatalogWatchOptions {
  readonly directory: Directory
  readonly log: Logger
  /** Writes the control line; calls back when it is in the queue. */
  readonly onChange: (table: TableName, change: TableChange, afterSent: () => void) => void
}

export function createCatalogWatch(options: CatalogWatchOptions): CatalogWatch {
  const { directory, log } = options
  const digests = new Map<number, string>()
  /** What was seen last, by label; the directory remembers it only when the line about it is in the queue. */
  const seen = new Map<string, Fingerprint>()

  const latest = (table: TableName) => seen.get(tableLabel(table)) ?? directory.fingerprint(table)

  async function look(
    connection: Connection,
    table: TableName,
    oid: number,
    named: readonly string[] = [],
  ): Promise<boolean> {
    const label = tableLabel(table)
    const before = latest(table)
    const found = await readFingerprint(connection, oid)
    const after = found && withPast(before, found, named)
    if (!after || isDeepStrictEqual(before, after)) return false
    const change = before && (await judge(connection, before, after))
    seen.set(label, after)
    const remember = () => directory.setFingerprint(table, after)
    if (change) {
      log.warn(
        { table: label, reason: change.message },
        'The table changed in a way that its rows do not show',
      )
      options.onChange(table, change, remember)
    } else {
      remember()
    }
    return true
  }

  return {
    look,
    added(table) {
      const columns = latest(table)?.columns ?? []
      return new Map(columns.flatMap(({ name, added }) => (added === undefined ? [] : [[name, added]])))
    },
    async lookAtAll(connection, members) {
      const now = await readDigests(
        connection,
        members.map((member) => member.oid),
      )
      const changed = members.filter((member) => now.get(member.oid) !== digests.get(member.oid))
      for (const member of changed) {
        await look(connection, member, member.oid)
        digests.set(member.oid, now.get(member.oid) ?? '')
      }
      return changed
    },
  }
}

async function judge(
  connection: Connection,
  before: Fingerprint,
  after: Fingerprint,
): Promise<TableChange | undefined> {
  const added = before.oid === after.oid ? newLeaves(before, after) : []
  const filled = await readFilledLeaves(
    connection,
    added.map((leaf) => leaf.oid),
  )
  return compareFingerprints(before, after, filled)
}
