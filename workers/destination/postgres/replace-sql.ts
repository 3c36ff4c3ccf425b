import { quoteIdentifier, quoteTable } from '../../../lib/sql.ts'
import { SOFT_DELETE_COLUMN } from '../names.ts'
import { STAGE, sameKey, type Writing } from './write-sql.ts'

const KEPT = 'pg_temp.millrace_kept'

/** Statements that put the rows of the stage by deleting all that have their keys before any is inserted. */
export interface Replacement {
  /** Sets aside what the rows that are there have to give: unchanged values, and columns that are the destination's own. */
  readonly keep: string
  /** The `n` of rows whose unchanged values are nowhere. */
  readonly missing: string | undefined
  readonly remove: string
  readonly insert: readonly string[]
}

/**
 * The way to put rows where an index of the destination's own is in the way of changing them one by one, such as a unique
 * index over a column whose values two rows of a batch have exchanged.
 */
export function replaceSQL(writing: Writing, partial: boolean): Replacement {
  const { table, columns, softColumn } = writing
  const target = quoteTable(table.name)
  const replicated = new Set(columns.map(({ name }) => name))
  const own = table.columns.filter(
    ({ name, generated }) => !replicated.has(name) && !generated && name !== SOFT_DELETE_COLUMN,
  )
  const alive =
    partial && softColumn ? ` AND (s.u IS NULL OR NOT t.${quoteIdentifier(SOFT_DELETE_COLUMN)})` : ''
  const kept = (name: string) => `k.${quoteIdentifier(name)}`
  const filled = columns.map(({ name }, index) =>
    partial
      ? `CASE WHEN substr(s.u, ${index + 1}, 1) = '1' THEN ${kept(name)} ELSE s.c${index} END`
      : `s.c${index}`,
  )
  const names = columns.map(({ name }) => quoteIdentifier(name))
  const ownNames = own.map(({ name }) => quoteIdentifier(name))
  return {
    keep: `CREATE TEMPORARY TABLE millrace_kept ON COMMIT DROP AS
      SELECT s.n AS "millrace n", t.* FROM ${target} t JOIN ${STAGE} s ON ${sameKey(writing)}${alive}`,
    missing: partial
      ? `SELECT s.n FROM ${STAGE} s
         WHERE s.u IS NOT NULL AND NOT EXISTS (SELECT FROM ${KEPT} k WHERE k."millrace n" = s.n)`
      : undefined,
    remove: `DELETE FROM ${target} t USING ${STAGE} s WHERE ${sameKey(writing)}`,
    insert: [
      `INSERT INTO ${target} (${[...names, ...ownNames].join(', ')}) OVERRIDING SYSTEM VALUE
       SELECT ${[...filled, ...own.map(({ name }) => kept(name))].join(', ')}
       FROM ${STAGE} s JOIN ${KEPT} k ON k."millrace n" = s.n`,
      `INSERT INTO ${target} (${names.join(', ')})
       SELECT ${columns.map((_, index) => `s.c${index}`).join(', ')} FROM ${STAGE} s
       WHERE NOT EXISTS (SELECT FROM ${KEPT} k WHERE k."millrace n" = s.n)`,
    ],
  }
}
