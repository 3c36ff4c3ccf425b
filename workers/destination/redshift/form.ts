import type { RedshiftType } from './redshift-type.ts'

/**
 * How values of one kind get into a column: one rule, said twice. The SQL half converts rows of a scan, in the source; the
 * JavaScript half converts the text that the queue has for the same values. Both give the same text (invariant I10).
 */
export interface Form {
  readonly type: RedshiftType
  /**
   * SQL that makes the value's output text, for types whose plain cast to text says something else or is costly to make
   * twice. What it gives is then the `x` of the functions below; the value itself is `value`.
   */
  readonly via?: (value: string) => string
  /** SQL condition on a value that is not NULL: it can be stored as it is. Without it every value can. */
  readonly fits?: (x: string, value: string) => string
  /** SQL: the text that is loaded. Without it `x` is. */
  readonly text?: (x: string) => string
  /** SQL: text of the nearest value that can be stored, or NULL. Without it there is none. */
  readonly nearest?: (x: string) => string
  /** The JavaScript half: the text that is loaded, or an `Unfit`. */
  readonly convert: (text: string) => string | Unfit
}

/** A value that cannot be stored as it is. */
export interface Unfit {
  /** Null: there is no near one. */
  readonly nearest: string | null
}

export const LOST: Unfit = { nearest: null }

/** Every value is loaded as its output text. */
export function plain(type: RedshiftType): Form {
  return { type, convert: (text) => text }
}
