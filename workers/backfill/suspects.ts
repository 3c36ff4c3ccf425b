import { createHash } from 'node:crypto'
import type { RowDigest } from '../source/verify-read.ts'

/** A row that was not the same on both sides when it was last looked at, which a change under way may explain. */
export interface Suspect {
  readonly key: readonly string[]
  /** Number of the range in which it was found. */
  readonly range: number
  /** Brackets in a row in which it differed although the source did not change it. */
  readonly confirmed: number
  /** The destination's row that those brackets agree on where the source has none; empty where it has one. */
  readonly extra: string
  readonly brackets: number
}

export type DifferenceKind = 'Changed' | 'Missing' | 'Extra'

/**
 * What was seen of a row in one bracket: read at the source, then at the destination once that had everything which was
 * visible at the source by then, then at the source again once that had everything which the destination could have.
 */
export interface Bracket {
  readonly before: RowDigest | undefined
  readonly destination: RowDigest | undefined
  readonly after: RowDigest | undefined
  /** False when the last read may have missed what the destination had by then. */
  readonly isAllVisible: boolean
}

export type Verdict =
  | { readonly kind: 'equal' }
  | { readonly kind: 'again'; readonly suspect: Suspect }
  | { readonly kind: 'undecided' }
  | { readonly kind: 'different'; readonly how: DifferenceKind }

/** Twice, because a primary shows a transaction a moment after its log has it. */
const CONFIRMATIONS = 2
/** Where the destination has no versions, and a row may have been deleted and written again with the same values. */
const UNVERSIONED_CONFIRMATIONS = 8
const MOST_BRACKETS = 30

/**
 * A row differs only if nothing that is queued or under way can explain it: the source had it unchanged all through the
 * bracket, so whatever position the destination stood at in between, it should have held just that.
 *
 * A row that is nowhere at the source has no version that would show that it came and went in between. But the destination then has
 * another version of it in the next bracket: before that begins to look there, it has come to where the source had no such row.
 */
export function judgeBracket(
  suspect: Suspect,
  { before, destination, after, isAllVisible }: Bracket,
  same: (a: string, b: string) => boolean,
): Verdict {
  const isEqual = (row: RowDigest | undefined) =>
    row && destination ? same(row.hash, destination.hash) : row === destination
  // In between it was changed to what the destination has, or from it: the destination follows.
  if (isEqual(before) || isEqual(after)) return { kind: 'equal' }
  const brackets = suspect.brackets + 1
  const stable = isAllVisible && before?.version === after?.version
  const extra = !after && destination ? destination.version || digest(destination.hash) : ''
  const agreed = extra === suspect.extra ? suspect.confirmed : 0
  const confirmed = stable ? agreed + 1 : 0
  const wanted = extra !== '' && destination?.version === '' ? UNVERSIONED_CONFIRMATIONS : CONFIRMATIONS
  if (confirmed >= wanted) return { kind: 'different', how: kindOf(after, destination) }
  if (brackets >= MOST_BRACKETS) return { kind: 'undecided' }
  return { kind: 'again', suspect: { ...suspect, confirmed, extra, brackets } }
}

function kindOf(source: RowDigest | undefined, destination: RowDigest | undefined): DifferenceKind {
  if (!source) return 'Extra'
  return destination ? 'Changed' : 'Missing'
}

/**
 * Rows that are not the same in both lists: their keys, and the slice that each was found in. Of a key that the destination has
 * twice, for not all of them enforce keys, too.
 */
export function differingRows(
  source: readonly RowDigest[],
  destination: readonly RowDigest[],
): Pick<RowDigest, 'key' | 'slice'>[] {
  const there = new Map<string, RowDigest>()
  const found: Pick<RowDigest, 'key' | 'slice'>[] = []
  for (const row of destination) {
    const text = keyText(row.key)
    if (there.has(text)) found.push(row)
    there.set(text, row)
  }
  for (const row of source) {
    const text = keyText(row.key)
    if (there.get(text)?.hash !== row.hash) found.push(row)
    there.delete(text)
  }
  return [...found, ...there.values()]
}

/** Of a row's values, which may be long. */
function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64')
}

/** Text that no other key has. */
export function keyText(key: readonly string[]): string {
  return JSON.stringify(key)
}

/** A key for people: the plain value where there is only one. */
export function keyLabel(key: readonly string[]): string {
  return key.length === 1 ? (key[0] ?? '') : JSON.stringify(key)
}
