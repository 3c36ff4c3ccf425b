import { type GoneColumn, goneColumns } from './doubtful-types.ts'
import { compareLeaves, type FingerprintLeaf, type LeafHistory, rewrittenLeaves } from './leaves.ts'
import { changed, retyped, type TableChange } from './table-change.ts'

/** What of a table's catalog entry can change its rows without a row event (rule R20). */
export interface Fingerprint {
  readonly oid: number
  readonly columns: readonly FingerprintColumn[]
  /** Highest column number that was ever given out. */
  readonly lastNumber: number
  /** Numbers of the key's columns, in key order. */
  readonly key: readonly number[]
  /** The tables that hold the rows. */
  readonly leaves: readonly FingerprintLeaf[]
  /**
   * Numbers of columns that came and went between two looks, so that nobody knows their names. This and what follows is not in
   * records of before it was remembered.
   */
  readonly unseenNumbers?: readonly number[]
  /** Names that the log had for them. */
  readonly unseenNames?: readonly string[]
  /** Names that columns had once and that no column has now; see `withPast`. */
  readonly formerNames?: readonly string[]
  /** Columns that the catalog has no more, and of which the log may have another type than was seen. */
  readonly gone?: readonly GoneColumn[]
  /** The same may hold, up to this LSN, for the columns that came and went between two looks: rows were written anew meanwhile. */
  readonly unseenUnsure?: string
}

export interface FingerprintColumn {
  readonly number: number
  readonly name: string
  readonly type: string
  /** Labels of an enum by their oid. */
  readonly labels: Readonly<Record<string, string>> | null
  /** The transactions that gave them these, by the same. */
  readonly labelled?: Readonly<Record<string, string>>
  /** Whether an ADD COLUMN with this default had to compute a value for every row. */
  readonly computed: boolean
  /** What the rows that were there got, as text, of a column that was seen being added; absent where that is not known. */
  readonly added?: string | null
  /**
   * Rows were written anew between the look that found it first and the one before: up to where the log ended then, an LSN, it may
   * have rows in which the column has another type.
   */
  readonly unsure?: string
  /** Of a composite type: numbers and types of its attributes, which its texts consist of. */
  readonly attributes?: string
}

/** A table as the catalog has it, with what is told of defaults only for the moment. */
export interface FoundFingerprint extends Fingerprint {
  readonly columns: readonly FoundColumn[]
  readonly droppedNumbers?: readonly number[]
}

interface FoundColumn extends FingerprintColumn {
  /** What PostgreSQL gives for this column to rows that are older than it. */
  readonly missing?: string | null
  /** The default of now, when it is one literal. */
  readonly literal?: string | null
}

/**
 * Compares a table with what it was. Undefined: nothing happened that the rows' own headers do not tell, such as a plain
 * ADD COLUMN, a DROP COLUMN, or a type that was widened in place. A type for which the rows were written anew tells nothing
 * about the expression (USING) that they were written with, so even integer to bigint counts as a change.
 */
export function compareFingerprints(
  before: Fingerprint,
  after: Fingerprint,
  history: LeafHistory,
): TableChange | undefined {
  if (before.oid !== after.oid) return changed('the table was dropped and created again')
  const leaves = compareLeaves(before.leaves, after.leaves, keyNames(before), history)
  return (
    compareColumns(before, after, history) ??
    (leaves === undefined ? undefined : changed(leaves)) ??
    (String(before.key) === String(after.key) ? undefined : changed('its key was changed'))
  )
}

/** Longest value that is remembered, characters: every run repeats it. Of longer ones the catalog has to be asked. */
const LONGEST_ADDED = 1_000

/**
 * What is to be remembered of a table: also the names of columns that it has no more. The catalog forgets them, the destination
 * keeps the columns with the values they had, and those would pass for the values of a later column of that name, however
 * much later it comes. And what an added column gave to the rows that were there, which is soon forgotten as well.
 *
 * @param named columns that the log speaks of. One that the catalog lacks came and went, if any did unseen; else the catalog is
 *   behind, because a commit is in the log a moment before others see it, and the column is yet to come
 * @param logEnd LSN at which the log ended after the catalog was read; needed where columns were added or dropped
 */
export function withPast(
  before: Fingerprint | undefined,
  { droppedNumbers = [], ...after }: FoundFingerprint,
  named: readonly string[],
  logEnd?: string,
): Fingerprint {
  const old = before?.oid === after.oid ? before : undefined
  const unseen = droppedNumbers.filter((number) => old && number > old.lastNumber)
  const unseenNumbers = [...(old?.unseenNumbers ?? []), ...unseen]
  const rewritten = old !== undefined && isRewritten(old, after)
  const columns = after.columns.map(({ missing = null, literal = null, ...column }): FingerprintColumn => {
    const isNew = old !== undefined && column.number > old.lastNumber
    const seen = old?.columns.find(({ number }) => number === column.number)
    const unsure = isNew ? (rewritten ? logEnd : undefined) : seen?.unsure
    // Without a value, and in a table that is still in its file, the column came without a default; one was set later.
    const given = isNew ? (missing ?? (rewritten ? literal : null)) : seen?.added
    return {
      ...column,
      ...(given !== undefined && (given?.length ?? 0) <= LONGEST_ADDED && { added: given }),
      ...(unsure !== undefined && { unsure }),
    }
  })
  const unseenUnsure = rewritten && unseen.length > 0 ? logEnd : old?.unseenUnsure
  const gone = goneColumns(old, after, rewritten ? logEnd : undefined)
  const present = new Set(after.columns.map(({ name }) => name))
  const known = before?.columns.map(({ name }) => name) ?? []
  const former = [...(before?.formerNames ?? []), ...known]
  // Each explains one name: more of them were other names of columns that are still there.
  const unexplained = new Set(named.filter((name) => !present.has(name) && !former.includes(name)))
  const unseenNames = [...(old?.unseenNames ?? []), ...unexplained].slice(0, unseenNumbers.length)
  const names = new Set([...former, ...unseenNames])
  return {
    ...after,
    columns,
    unseenNumbers,
    unseenNames,
    formerNames: [...names].filter((name) => !present.has(name)).sort(),
    ...(gone.length > 0 && { gone }),
    ...(unseenUnsure !== undefined && { unseenUnsure }),
  }
}

/**
 * What the log tells of the columns that neither the catalog of before nor that of now has: between them they had other names. What
 * was written meanwhile is in the queue under those.
 *
 * @param after with its past; see `withPast`
 * @param named columns that the log speaks of, in their order
 */
export function compareNames(after: Fingerprint, named: readonly string[]): TableChange | undefined {
  const places = new Map(after.columns.map(({ name }, index) => [name, index]))
  const unknown = named.find((name) => !places.has(name) && !after.formerNames?.includes(name))
  if (unknown !== undefined) return changed(`a column was named ${JSON.stringify(unknown)} for a time`)
  const found = named.flatMap((name) => places.get(name) ?? [])
  const isInOrder = found.every((place, index) => index === 0 || place > Number(found[index - 1]))
  return isInOrder ? undefined : changed('columns had exchanged their names for a time')
}

/** The table's changes were written under another name for a time. */
export function tableAway(name: string): TableChange {
  return changed(`the table was named ${name} for a time`)
}

function keyNames({ key, columns }: Fingerprint): string[] {
  return key.map((number) => columns.find((column) => column.number === number)?.name ?? '')
}

function compareColumns(
  before: Fingerprint,
  after: Fingerprint,
  history: LeafHistory,
): TableChange | undefined {
  const known = new Map(before.columns.map((column) => [column.number, column]))
  const rewritten = isRewritten(before, after)
  const former = new Set([...(before.formerNames ?? []), ...before.columns.map(({ name }) => name)])
  for (const column of after.columns) {
    const old = known.get(column.number)
    const name = JSON.stringify(column.name)
    if (!old) {
      if (column.number <= before.lastNumber) {
        return changed(`column ${name}, which was generated, now holds values of its own`)
      }
      if (rewritten && (column.computed || history.odd.has(column.name))) {
        return changed(`column ${name} was added with a value of its own for every row`)
      }
      if (former.has(column.name)) {
        return changed(`column ${name} was added after another one of that name was dropped`)
      }
      if (isAfterUnseen(column, before, after)) {
        return changed(`column ${name} was added after another one, whose name is not known, came and went`)
      }
      continue
    }
    if (old.name !== column.name) return changed(`column ${JSON.stringify(old.name)} was renamed to ${name}`)
    const label = renamedLabel(old, column)
    if (label) return changed(`a value of the type of column ${name} was renamed: ${label}`)
    if (old.attributes !== undefined && old.attributes !== column.attributes)
      return changed(`the type of column ${name} was altered`)
    if (rewritten && old.type === column.type && history.altered.has(column.name)) {
      return changed(`column ${name} was given other values (ALTER COLUMN … TYPE … USING)`)
    }
    if (old.type !== column.type && rewritten) {
      return retyped(column.name, old.type, column.type)
    }
  }
  return undefined
}

/** Whether a column of any name, so perhaps of this one, was added and dropped since the last look. */
function isAfterUnseen({ number }: FingerprintColumn, before: Fingerprint, after: Fingerprint): boolean {
  return (after.unseenNumbers ?? []).some((gone) => gone > before.lastNumber && gone < number)
}

/** Also where no leaf is left to compare: what rows are there came, and may have been written anew, since the last look. */
function isRewritten(before: Fingerprint, after: Fingerprint): boolean {
  if (before.leaves.length === 0) return after.leaves.length > 0
  return rewrittenLeaves(before.leaves, after.leaves).length > 0
}

function renamedLabel(old: FingerprintColumn, now: FingerprintColumn): string | undefined {
  for (const [oid, label] of Object.entries(old.labels ?? {})) {
    const renamed = now.labels?.[oid]
    if (renamed !== undefined && renamed !== label) return `${label} to ${renamed}`
    const [before, after] = [old.labelled?.[oid], now.labelled?.[oid]]
    if (before !== undefined && after !== undefined && before !== after) return `${label} for a time`
  }
  return undefined
}
