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
  /** A scan sends the value as PostgreSQL writes it, and the JavaScript half converts it where that is needed at all. */
  readonly scan?: ScanForm
  /** The JavaScript half: the text that is loaded, or an `Unfit`. */
  readonly convert: (text: string) => string | Unfit
}

/**
 * When a value of a scan has to be looked at by `convert`. Nearly none has to: so the source sends values in their own type, which
 * costs it a third of what text made by an expression does, and the bytes go on as they are.
 */
export interface ScanForm {
  /**
   * SQL condition on the column, cheap: true for every value that `convert` may not let through, and for few others; false or NULL
   * for the rest.
   */
  readonly doubt?: (value: string) => string
  /** Longest text in bytes of UTF-8 that is let through in any case. Default: any. */
  readonly bytes?: number
  /** Most bytes of a field of CSV that have to be kept of a longer one, to know what becomes of it. */
  readonly keep?: number
  /** Stands in every text that may not be let through for what is in it. */
  readonly needle?: string
}

/** A value that cannot be stored as it is. */
export interface Unfit {
  /** Null: there is no near one. */
  readonly nearest: string | null
}

export const LOST: Unfit = { nearest: null }

/** Every value is loaded as its output text. */
export function plain(type: RedshiftType): Form {
  return { type, scan: {}, convert: (text) => text }
}
