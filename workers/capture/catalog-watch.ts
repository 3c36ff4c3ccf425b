import { isDeepStrictEqual } from 'node:util'
import type { Logger } from '../../lib/log.ts'
import type { Connection } from '../source/connect.ts'
import { type LSN, parseLSN } from '../source/lsn.ts'
import type { Member } from '../source/publication.ts'
import { type TableName, tableLabel } from '../source/table.ts'
import { readDigests, readFingerprint } from './catalog.ts'
import type { Directory } from './directory.ts'
import { readEmptiedLeaves } from './emptied.ts'
import { compareFingerprints, type Fingerprint, type TableChange, withPast } from './fingerprint.ts'
import { type AddedColumn, readAlteredColumns, readFilledLeaves, readOddColumns } from './leaf-facts.ts'
import { type LeafHistory, newLeaves, rewrittenLeaves, wholeTruncation } from './leaves.ts'
import type { Truncations } from './truncations.ts'

/** Notices what happens to tables without row events (rule R20). */
export interface CatalogWatch {
  /**
   * Looks at one table. Says whether that settled what became of it; if not, it is to be looked at again.
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
  /** All transactions that end at or before this were seen in the log. */
  readonly through: () => LSN
  /** Those of them that have truncated tables. */
  readonly truncations: Truncations
  /** Writes the control line; calls back when it is in the queue. */
  readonly onChange: (table: TableName, change: TableChange, afterSent: () => void) => void
}

const NOTHING: LeafHistory = { filled: new Set(), emptied: new Map(), altered: new Set(), odd: new Set() }

export function createCatalogWatch(options: CatalogWatchOptions): CatalogWatch {
  const { directory, log, truncations } = options
  const digests = new Map<number, string>()
  /** What was seen last, by label; the directory remembers it only when the line about it is in the queue. */
  const seen = new Map<string, Fingerprint>()
  /** Where the log ended when a transaction was first found to have emptied all of a table, by both. */
  const ends = new Map<string, LSN>()

  /** Undefined while the log may still say that it was a TRUNCATE of the table. */
  async function isToldByLog(connection: Connection, oid: number, xid: string): Promise<boolean | undefined> {
    const name = `${oid}/${xid}`
    if (!ends.has(name)) {
      const [row] = await connection.query('SELECT pg_current_wal_insert_lsn() AS lsn')
      ends.set(name, parseLSN(row?.lsn ?? ''))
    }
    const told = truncations.has(oid, Number(xid))
    if (!told && options.through() < (ends.get(name) ?? 0n)) return undefined
    ends.delete(name)
    return told
  }

  async function judge(
    connection: Connection,
    before: Fingerprint,
    after: Fingerprint,
  ): Promise<TableChange | undefined | 'undecided'> {
    if (before.oid !== after.oid) return compareFingerprints(before, after, NOTHING)
    const filled = await readFilledLeaves(
      connection,
      newLeaves(before.leaves, after.leaves),
      attachments(before, after),
    )
    const rewritten = rewrittenLeaves(before.leaves, after.leaves)
    const altered = await readAlteredColumns(
      connection,
      rewritten.map(([, leaf]) => leaf),
    )
    const emptied = await readEmptiedLeaves(connection, rewritten, after.lastNumber > before.lastNumber)
    const xid = wholeTruncation(before.leaves, after.leaves, emptied)
    const told = xid !== undefined && (await isToldByLog(connection, after.oid, xid))
    const change = compareFingerprints(before, after, {
      filled,
      emptied: told === false ? emptied : new Map(),
      altered,
      odd: await readOddColumns(
        connection,
        rewritten.map(([, leaf]) => leaf),
        unkeptColumns(before, after),
      ),
    })
    return change ?? (told === undefined ? 'undecided' : undefined)
  }

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
    if (!after || isDeepStrictEqual(before, after)) return true
    const change = before && (await judge(connection, before, after))
    if (change === 'undecided') return false
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
        const isSettled = await look(connection, member, member.oid)
        if (isSettled) digests.set(member.oid, now.get(member.oid) ?? '')
      }
      return changed
    },
  }
}

/** Columns that came since and of which the catalog keeps no value for older rows. */
function unkeptColumns(before: Fingerprint, after: Fingerprint): AddedColumn[] {
  const added = after.columns.filter(({ number, keepsValue }) => number > before.lastNumber && !keepsValue)
  return added.map(({ name, type, added: value = null }) => ({ name, type, added: value }))
}

/** What is attached above the leaves that were there before; were it another attachment, they would differ by it. */
function attachments(before: Fingerprint, after: Fingerprint): ReadonlySet<string> {
  const added = new Set(newLeaves(before.leaves, after.leaves))
  const known = after.leaves.filter((leaf) => !added.has(leaf))
  return new Set(known.flatMap((leaf) => leaf.partition?.attached ?? []))
}
