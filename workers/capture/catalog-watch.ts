import { isDeepStrictEqual } from 'node:util'
import { MillraceError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { Connection } from '../source/connect.ts'
import { readLogEnd } from '../source/identity.ts'
import { formatLSN, type LSN } from '../source/lsn.ts'
import type { Member } from '../source/publication.ts'
import { type TableName, tableLabel } from '../source/table.ts'
import { isAnyRunning } from '../source/writers.ts'
import { readDigests, readFingerprint } from './catalog.ts'
import type { Directory } from './directory.ts'
import { compareTypes, type Logged, withTypes, withUnseenTypes } from './doubtful-types.ts'
import { readEmptiedLeaves } from './emptied.ts'
import {
  compareFingerprints,
  compareNames,
  type Fingerprint,
  type FoundFingerprint,
  tableAway,
  withPast,
} from './fingerprint.ts'
import { type AddedColumn, readAlteredColumns, readFilledLeaves, readOddColumns } from './leaf-facts.ts'
import { type LeafHistory, newLeaves, rewrittenLeaves, wholeTruncation } from './leaves.ts'
import type { TableChange } from './table-change.ts'
import type { Truncations } from './truncations.ts'

/** Notices what happens to tables without row events (rule R20). */
export interface CatalogWatch {
  /**
   * Looks at one table. Says whether that settled what became of it; if not, it is to be looked at again.
   *
   * @param logged what the log says of the table
   */
  look(connection: Connection, table: TableName, oid: number, logged?: Logged): Promise<boolean>
  /** The log has changes of the table under another name. */
  wasAway(table: TableName, as: TableName): void
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
  /** What the log says of tables, by label, and the catalog may be about to say. */
  const unsettled = new Map<string, readonly Logged[]>()
  /** Where the log ended when a transaction was first found to have emptied all of a table, by both. */
  const ends = new Map<string, LSN>()

  /** Undefined while the log may still say that it was a TRUNCATE of the table. */
  async function isToldByLog(connection: Connection, oid: number, xid: string): Promise<boolean | undefined> {
    const name = `${oid}/${xid}`
    if (!ends.has(name)) {
      const { inserted } = await readLogEnd(connection)
      ends.set(name, inserted)
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
    found: FoundFingerprint,
  ): Promise<TableChange | undefined | 'undecided'> {
    // What the catalog alone tells needs no look at rows, which may be locked: meanwhile rows that come behind the change would go on.
    const certain = compareFingerprints(before, after, NOTHING)
    if (certain || before.oid !== after.oid) return certain
    const filled = await readFilledLeaves(
      connection,
      newLeaves(before.leaves, after.leaves),
      attachments(before, after),
    )
    const rewritten = rewrittenLeaves(before.leaves, after.leaves)
    const leaves = rewritten.map(([, leaf]) => leaf)
    const altered = await readAlteredColumns(connection, leaves)
    const emptied = await readEmptiedLeaves(connection, rewritten, after.lastNumber > before.lastNumber)
    const xid = wholeTruncation(before.leaves, after.leaves, emptied)
    const told = xid !== undefined && (await isToldByLog(connection, after.oid, xid))
    const change = compareFingerprints(before, after, {
      filled,
      emptied: told === false ? emptied : new Map(),
      altered,
      odd: await readOddColumns(connection, leaves, unkeptColumns(before, after, found)),
    })
    return change ?? (told === undefined ? 'undecided' : undefined)
  }

  /**
   * Left for the next look while the catalog may be behind the log: a commit is in the log a moment before others see it. Looks
   * anew, because what was read before may be of before the commit.
   */
  async function judgeNames(
    connection: Connection,
    label: string,
    before: Fingerprint,
    after: Fingerprint,
    told: readonly Logged[],
  ): Promise<TableChange | undefined> {
    const open: Logged[] = []
    let change: TableChange | undefined
    for (const logged of told) {
      if (before.oid !== after.oid || !compareNames(after, logged.named)) continue
      if (await isAnyRunning(connection, [logged.xid])) {
        open.push(logged)
        continue
      }
      const found = await readFingerprint(connection, after.oid)
      if (found) change ??= compareNames(withPast(after, found, logged.named), logged.named)
    }
    if (open.length > 0) unsettled.set(label, open)
    else unsettled.delete(label)
    return change
  }

  const latest = (table: TableName) => seen.get(tableLabel(table)) ?? directory.fingerprint(table)

  async function look(
    connection: Connection,
    table: TableName,
    oid: number,
    logged?: Logged,
  ): Promise<boolean> {
    const label = tableLabel(table)
    const before = latest(table)
    const found = await readFingerprint(connection, oid)
    const told = [...(unsettled.get(label) ?? []), ...(logged ? [logged] : [])]
    if (!found) return true
    const named = told.flatMap((each) => each.named)
    const isOther = before !== undefined && hasOtherColumns(before, found)
    const logEnd = isOther ? formatLSN((await readLogEnd(connection)).inserted) : undefined
    const past = withUnseenTypes(withPast(before, found, named, logEnd), told)
    const asFar = withTypes(past, options.through(), false)
    const types = compareTypes(asFar, told)
    const after = withTypes(asFar, options.through(), types !== undefined)
    const names = before && (await judgeNames(connection, label, before, after, told))
    const logs = types ?? names
    if (!logs && isDeepStrictEqual(before, after)) return true
    const facts = before && (await judge(connection, before, after, found).catch(putOff))
    if (facts === 'undecided' && !logs) return false
    const change = facts === 'undecided' ? logs : (facts ?? logs)
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
    wasAway(table, as) {
      const change = tableAway(tableLabel(as))
      log.warn({ table: tableLabel(table), reason: change.message }, 'The table was renamed')
      options.onChange(table, change, () => {})
    },
    added(table) {
      const columns = latest(table)?.columns ?? []
      return new Map(columns.flatMap(({ name, added }) => (added === undefined ? [] : [[name, added]])))
    },
    async lookAtAll(connection, members) {
      const now = await readDigests(
        connection,
        members.map((member) => member.oid),
      )
      const changed = members.filter(
        (member) => now.get(member.oid) !== digests.get(member.oid) || unsettled.has(tableLabel(member)),
      )
      for (const member of changed) {
        const isSettled = await look(connection, member, member.oid)
        if (isSettled) digests.set(member.oid, now.get(member.oid) ?? '')
      }
      return changed
    },
  }
}

/** A partition that somebody has locked is looked at later: meanwhile the stream goes on, and the looks at other tables. */
function putOff(thrown: unknown): 'undecided' {
  if (
    thrown instanceof MillraceError &&
    (thrown.code === 'LockTimeout' || thrown.code === 'DeadlineExceeded')
  )
    return 'undecided'
  throw thrown
}

function hasOtherColumns(before: Fingerprint, found: Fingerprint): boolean {
  const left = new Set(found.columns.map(({ number }) => number))
  return found.lastNumber > before.lastNumber || before.columns.some(({ number }) => !left.has(number))
}

/** Columns that came since and of which the catalog keeps no value for older rows. */
function unkeptColumns(before: Fingerprint, after: Fingerprint, found: FoundFingerprint): AddedColumn[] {
  const kept = new Set(
    found.columns.flatMap(({ number, missing = null }) => (missing === null ? [] : number)),
  )
  const added = after.columns.filter(({ number }) => number > before.lastNumber && !kept.has(number))
  return added.map(({ name, type, added: value = null }) => ({ name, type, added: value }))
}

/** What is attached above the leaves that were there before; were it another attachment, they would differ by it. */
function attachments(before: Fingerprint, after: Fingerprint): ReadonlySet<string> {
  const added = new Set(newLeaves(before.leaves, after.leaves))
  const known = after.leaves.filter((leaf) => !added.has(leaf))
  return new Set(known.flatMap((leaf) => leaf.partition?.attached ?? []))
}
