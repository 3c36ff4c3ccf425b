import type { TargetFacts } from '../destination/destination.ts'
import type { LedgerTable, LedgerTableFacts } from '../destination/ledger.ts'
import { comparePositions, ORIGIN } from '../source/position.ts'

/** What somebody has done to the destination behind our back. */
export interface Tampering {
  readonly code: 'LedgerChanged' | 'DestinationChanged'
  readonly message: string
}

const CURE =
  'rows may be missing or wrong; a backfill that empties the table (destinationTable Truncate or Drop) cures it'

export function tampered(code: Tampering['code'], what: string): Tampering {
  return { code, message: `${what}: ${CURE}` }
}

export const LEDGER_ROW_GONE = tampered('LedgerChanged', "the table's row in the ledger was deleted")

/**
 * Which facts of a ledger row differ although its version, which every change of ours makes grow, is the same. Empty
 * when the versions differ: then somebody is at work, and one of the two rows is merely older.
 */
export function changedFacts(known: LedgerTable, found: LedgerTable): (keyof LedgerTableFacts)[] {
  if (known.version !== found.version) return []
  const facts: readonly (keyof LedgerTableFacts)[] = [
    'topic',
    'incarnation',
    'nextOffset',
    'state',
    'stopCode',
    'stopMessage',
    'heldBy',
    'unknownHistory',
    'needsEmptying',
    'historyComplete',
  ]
  const changed = facts.filter((fact) => known[fact] !== found[fact])
  return comparePositions(known.position, found.position) === 0 ? changed : [...changed, 'position']
}

/** What was known of a destination table, as long as only Millrace has changed it. */
export interface Baseline {
  readonly target: TargetFacts
  /** Changes whenever Millrace itself empties or replaces the table. */
  readonly mark: string
  /** Of the table's row in the ledger. */
  readonly version: bigint
}

export const DROPPED = tampered('DestinationChanged', 'the destination table was dropped')
export const REMADE = tampered('DestinationChanged', 'the destination table was dropped and made again')

export function columnGone(name: string): Tampering {
  return tampered(
    'DestinationChanged',
    `column ${JSON.stringify(name)} of the destination table was dropped or renamed`,
  )
}

export const EMPTIED = tampered('DestinationChanged', 'the destination table was emptied')

/**
 * Whether the table may have been emptied by hand since the last look. A table that had no rows and got none has nothing to
 * lose.
 */
export function mayBeEmptied(
  row: LedgerTable,
  before: Baseline | undefined,
  found: TargetFacts | undefined,
  mark: string,
): boolean {
  if (!before || !found || before.mark !== mark || before.target.file === found.file) return false
  return !before.target.empty || before.version !== row.version
}

/**
 * What was done to a destination table by hand since the last look. That it was emptied does not show in the catalog.
 *
 * @param found undefined = there is no such table
 * @param wanted names of the columns that are written
 */
export function judgeTarget(
  row: LedgerTable,
  before: Baseline | undefined,
  found: TargetFacts | undefined,
  mark: string,
  wanted: readonly string[],
): Tampering | undefined {
  const written = comparePositions(row.position, ORIGIN) > 0 && row.historyComplete
  if (!found) {
    return written || before ? DROPPED : undefined
  }
  if (!before || before.mark !== mark) return undefined
  if (before.target.id !== found.id) {
    return REMADE
  }
  const gone = wanted.find((name) => before.target.columns.includes(name) && !found.columns.includes(name))
  return gone === undefined ? undefined : columnGone(gone)
}
