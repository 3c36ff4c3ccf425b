import { type LSN, parseLSN } from '../source/lsn.ts'
import type { Fingerprint } from './fingerprint.ts'
import { retyped, type TableChange } from './table-change.ts'

/** How the log describes a table. */
export interface Logged {
  /** Names of the columns, in their order. */
  readonly named: readonly string[]
  /** Their types, as `format_type()` gives them. */
  readonly types: readonly string[]
  /** The transaction that wrote so. */
  readonly xid: number
}

/** A column that the catalog has no more. */
export interface GoneColumn {
  readonly name: string
  /** As last seen in the catalog, or else as the log had it first. */
  readonly type: string
  /** See `FingerprintColumn`. */
  readonly unsure: string
}

/** @param unsure where the log ended, if rows were written anew since the last look */
export function goneColumns(
  old: Fingerprint | undefined,
  after: Fingerprint,
  unsure: string | undefined,
): GoneColumn[] {
  const left = new Set(after.columns.map(({ number }) => number))
  const dropped = old?.columns.filter(({ number }) => !left.has(number)) ?? []
  return [
    ...(old?.gone ?? []),
    ...dropped.flatMap((column) => {
      const until = unsure ?? column.unsure
      return until === undefined ? [] : { name: column.name, type: column.type, unsure: until }
    }),
  ]
}

/**
 * Of columns that came and went between two looks only the log knows the types: the first that it has is what the others are
 * compared with.
 *
 * @param after with its past; see `withPast`
 */
export function withUnseenTypes(after: Fingerprint, logged: readonly Logged[]): Fingerprint {
  const { unseenUnsure: unsure, unseenNames = [], gone = [] } = after
  if (unsure === undefined) return after
  const found = unseenNames
    .filter((name) => !gone.some((column) => column.name === name))
    .flatMap((name) =>
      typesOf(name, logged)
        .slice(0, 1)
        .map((type) => ({ name, type, unsure })),
    )
  return found.length === 0 ? after : { ...after, gone: [...gone, ...found] }
}

/**
 * Whether the log has rows with another type of a column than the catalog ever showed: it was added and changed between two looks, or
 * changed and dropped. What a type is changed to in place needs no new rows, and follows from the log by itself.
 *
 * @param after with its past; see `withPast`
 */
export function compareTypes(after: Fingerprint, logged: readonly Logged[]): TableChange | undefined {
  for (const { name, type, unsure } of after.columns) {
    const other = unsure !== undefined && typesOf(name, logged).find((each) => each !== type)
    if (other) return retyped(name, other, type)
  }
  for (const { name, type } of after.gone ?? []) {
    const other = typesOf(name, logged).find((each) => each !== type)
    if (other) return retyped(name, type, other)
  }
  return undefined
}

/** Without what the log has told: every transaction that ends at `through` or before was seen in it, or the change is told now. */
export function withTypes(after: Fingerprint, through: LSN, isTold: boolean): Fingerprint {
  const isOpen = (unsure: string | undefined): unsure is string =>
    unsure !== undefined && !isTold && through < parseLSN(unsure)
  const columns = after.columns.map(({ unsure, ...column }) =>
    isOpen(unsure) ? { ...column, unsure } : column,
  )
  const { gone: all = [], unseenUnsure, ...rest } = after
  const gone = all.filter(({ unsure }) => isOpen(unsure))
  return {
    ...rest,
    columns,
    ...(gone.length > 0 && { gone }),
    ...(isOpen(unseenUnsure) && { unseenUnsure }),
  }
}

function typesOf(column: string, logged: readonly Logged[]): string[] {
  return logged.flatMap(({ named, types }) => types[named.indexOf(column)] ?? [])
}
