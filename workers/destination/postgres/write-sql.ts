import { quoteIdentifier, quoteTable } from '../../../lib/sql.ts'
import { SOFT_DELETE_COLUMN } from '../names.ts'
import type { TargetColumn, TargetTable } from './catalog.ts'

/** How rows of a definition are written into a table of the destination. */
export interface Writing {
  readonly table: TargetTable
  /** Of the definition, in its order. */
  readonly columns: readonly TargetColumn[]
  /** Where the key's columns stand in `columns`. */
  readonly key: readonly number[]
  /** The table has an index that finds rows by the key. */
  readonly indexed: boolean
  /** The table has the column of soft deletes. */
  readonly softColumn: boolean
}

/**
 * Name of the temporary table that rows are gathered in. Its columns are `n` (from 0), `c0`, `c1`, … in the definition's
 * order, and `u`: a text with a 1 for each unchanged column, NULL for a row without any.
 */
export const STAGE = 'pg_temp.millrace_rows'

const SOFT = quoteIdentifier(SOFT_DELETE_COLUMN)

/** Where a statement takes its rows from. */
export type RowSource = 'inline' | 'stage'

/** Parameters: the rows as one text array per column, then one for `u` when `partial`. */
function rows({ columns }: Writing, source: RowSource, partial: boolean): string {
  if (source === 'stage') return ''
  const fields = columns.map((_, index) => `c${index}`)
  if (partial) fields.push('u')
  const casts = columns.map((column, index) => `r.c${index}::${column.castType} AS c${index}`)
  return `s AS MATERIALIZED (
    SELECT r.n - 1 AS n, ${casts.join(', ')}${partial ? ', r.u' : ''}
    FROM unnest(${fields.map((_, index) => `$${index + 1}::text[]`).join(', ')})
      WITH ORDINALITY AS r (${fields.join(', ')}, n)), `
}

/**
 * Puts rows: those whose key is there are changed, the others inserted. Changed and not deleted and inserted, so that
 * columns that are the destination's own, and large values that did not change, stay where they are.
 *
 * With `partial`, rows may have unchanged columns; the result are then the `n` of those that have no row to take them from.
 */
export function upsertSQL(writing: Writing, source: RowSource, partial: boolean): string {
  const { columns, softColumn } = writing
  const values = columns.map(({ name }, index) =>
    partial
      ? `CASE WHEN substr(s.u, ${index + 1}, 1) = '1' THEN t.${quoteIdentifier(name)} ELSE s.c${index} END`
      : `s.c${index}`,
  )
  // A row that is deleted, if softly, has nothing to give to another that comes later under its key.
  const alive = partial && softColumn ? ` AND (s.u IS NULL OR NOT t.${SOFT})` : ''
  const found = `SELECT s.*, ${isThere(writing)} AS there
    FROM ${source === 'inline' ? 's' : `${STAGE} s`} LEFT JOIN ${quoteTable(writing.table.name)} t ON ${sameKey(writing)}${alive}`
  const update = `WITH ${rows(writing, source, partial)}${updateFound(writing, found, values)}`
  if (!partial) return `${update} ${insertFound(writing)}`
  return `${update}, i AS (${insertFound(writing)} AND s.u IS NULL)
    SELECT s.n FROM d s WHERE s.u IS NOT NULL AND NOT s.there`
}

/**
 * Puts the rows of the stage when many of them may be there already, to the letter: those are left alone, which spares
 * the destination nearly all of the work. Compared is the stored form (`*<>`), because not every type has an equality.
 */
export function repairSQL(writing: Writing): string {
  const { table, columns, softColumn } = writing
  const present = columns.map(({ name }) => `t.${quoteIdentifier(name)}`).join(', ')
  const wanted = columns.map((_, index) => `s.c${index}`)
  // The cast keeps PostgreSQL from taking two row constructors apart and looking for the operator column by column.
  const differs = `ROW(${present})::record *<> ROW(${wanted.join(', ')})::record${softColumn ? ` OR t.${SOFT}` : ''}`
  const found = `SELECT s.*, ${isThere(writing)} AS there
    FROM ${STAGE} s LEFT JOIN ${quoteTable(table.name)} t ON ${sameKey(writing)}
    WHERE NOT (${isThere(writing)}) OR ${differs}`
  return `WITH ${updateFound(writing, found, wanted)} ${insertFound(writing)}`
}

// Looks once whether each row's key is there, since looking is what takes the time in a large table.
function updateFound(writing: Writing, found: string, values: readonly string[]): string {
  const { table, columns, softColumn } = writing
  const sets = columns.map(({ name }, index) => `${quoteIdentifier(name)} = ${values[index]}`)
  if (softColumn) sets.push(`${SOFT} = false`)
  return `d AS MATERIALIZED (${found}), u AS (
    UPDATE ${quoteTable(table.name)} t SET ${sets.join(', ')}
    FROM d s WHERE s.there AND ${sameKey(writing)} RETURNING 1)`
}

// Counting what was changed makes PostgreSQL change all of it before it inserts: a new row may have what a changed one
// gives up, in a column that an index of the destination wants to be unique.
function insertFound({ table, columns }: Writing): string {
  return `INSERT INTO ${quoteTable(table.name)} (${list(columns)})
    SELECT ${columns.map((_, index) => `s.c${index}`).join(', ')} FROM d s
    WHERE NOT s.there AND (SELECT count(*) FROM u) >= 0`
}

// IS NOT NULL would be false for a composite value with a NULL in it.
function isThere({ columns, key }: Writing): string {
  const [first = 0] = key
  return `t.${quoteIdentifier((columns[first] as TargetColumn).name)} IS DISTINCT FROM NULL`
}

/**
 * Statement before those that look for many rows by their keys, in a table that has an index for it: one look per row.
 * PostgreSQL would rather read the whole table as soon as that seems cheaper, once for each chunk of a backfill.
 */
export const LOOK_UP_KEYS = 'SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off'

/** Deletes by key. Parameters: one text array per key column. */
export function deleteSQL({ table, columns, key }: Writing, how: 'hard' | 'soft'): string {
  const keyColumns = key.map((index) => columns[index] as TargetColumn)
  const fields = keyColumns.map((_, index) => `k${index}`).join(', ')
  const casts = keyColumns.map((column, index) => `r.k${index}::${column.castType} AS k${index}`)
  const arrays = keyColumns.map((_, index) => `$${index + 1}::text[]`).join(', ')
  const same = keyColumns.map(
    (column, index) => `t.${quoteIdentifier(column.name)} ${column.equals} s.k${index}`,
  )
  const keys = `(SELECT ${casts.join(', ')} FROM unnest(${arrays}) AS r (${fields})) s`
  return removal(table, how, keys, same.join(' AND '))
}

/** Empties the table. A soft deletion keeps the rows. */
export function emptySQL({ table }: Pick<Writing, 'table'>, how: 'hard' | 'soft'): string {
  if (how === 'hard') return `TRUNCATE ${quoteTable(table.name)}`
  return `UPDATE ${quoteTable(table.name)} SET ${SOFT} = true WHERE NOT ${SOFT}`
}

/**
 * Takes away rows of a table without a key: of every row in the stage with a negative `count`, exactly that many equal
 * ones. Equal is what has the same text, column by column: not every type can be compared otherwise, and NULL is like NULL.
 * The text is what the type writes of a value, as in that of a row; a cast to text would not be (it cuts the blanks of bpchar).
 */
export function removeEqualSQL({ table, columns, softColumn }: Writing, how: 'hard' | 'soft'): string {
  const image = (of: (index: number) => string) =>
    `ROW(${columns.map((_, index) => of(index)).join(', ')})::text`
  const there = image((index) => `t.${quoteIdentifier((columns[index] as TargetColumn).name)}`)
  const alive = softColumn ? ` AND NOT t.${SOFT}` : ''
  const found = `(
    SELECT t.tableoid AS part, t.ctid AS place, s.count, row_number() OVER (PARTITION BY s.n) AS nth
    FROM ${quoteTable(table.name)} t
    JOIN (SELECT n, count, ${image((index) => `s.c${index}`)} AS image FROM ${STAGE} s WHERE count < 0) s
      ON ${there} = s.image${alive}) s`
  return removal(table, how, found, 't.ctid = s.place AND t.tableoid = s.part AND s.nth <= -s.count')
}

/** Adds rows. Parameters: one text array per column. */
export function insertSQL({ table, columns }: Writing): string {
  const casts = columns.map((column, index) => `r.c${index}::${column.castType}`)
  const arrays = columns.map((_, index) => `$${index + 1}::text[]`)
  return `INSERT INTO ${quoteTable(table.name)} (${list(columns)})
    SELECT ${casts.join(', ')} FROM unnest(${arrays.join(', ')}) AS r (${columns.map((_, index) => `c${index}`).join(', ')})`
}

/** Adds rows of a table without a key, each as often as its positive `count` says. */
export function addEqualSQL({ table, columns }: Writing): string {
  return `INSERT INTO ${quoteTable(table.name)} (${list(columns)})
    SELECT ${columns.map((_, index) => `s.c${index}`).join(', ')}
    FROM ${STAGE} s, generate_series(1, s.count) WHERE s.count > 0`
}

/** The temporary table, typed like the target so that COPY converts and names the column that it refuses. */
export function createStageSQL({ columns }: Writing, extra: readonly string[]): string {
  const typed = columns.map((column, index) => `c${index} ${column.type}`)
  return `CREATE TEMPORARY TABLE millrace_rows (${[...extra, ...typed].join(', ')}) ON COMMIT DROP`
}

/** Loads it: the extra columns first. */
export function copyStageSQL({ columns }: Writing, extra: readonly string[]): string {
  return `COPY ${STAGE} (${[...extra, ...columns.map((_, index) => `c${index}`)].join(', ')}) FROM STDIN (FORMAT text)`
}

/** Tells the planner how many rows and keys there are; without it a large table may be read as a whole. */
export function analyzeStageSQL({ key }: Writing): string {
  return `ANALYZE ${STAGE} (${key.map((index) => `c${index}`).join(', ')})`
}

/** Loads straight into the table. */
export function copyTargetSQL({ table, columns }: Writing): string {
  return `COPY ${quoteTable(table.name)} (${list(columns)}) FROM STDIN (FORMAT text)`
}

/** Name of a column behind the one of the stage; other names come back as they are. */
export function stagedColumn({ columns }: Writing, name: string): string {
  const index = /^c(\d+)$/.exec(name)?.[1]
  return (index === undefined ? undefined : columns[Number(index)]?.name) ?? name
}

function removal(table: TargetTable, how: 'hard' | 'soft', of: string, condition: string): string {
  const target = quoteTable(table.name)
  return how === 'hard'
    ? `DELETE FROM ${target} t USING ${of} WHERE ${condition}`
    : `UPDATE ${target} t SET ${SOFT} = true FROM ${of} WHERE ${condition} AND NOT t.${SOFT}`
}

/** Condition that a row `t` of the table has the key of a row `s`. */
export function sameKey({ columns, key }: Writing): string {
  return key
    .map((index) => {
      const column = columns[index] as TargetColumn
      return `t.${quoteIdentifier(column.name)} ${column.equals} s.c${index}`
    })
    .join(' AND ')
}

function list(columns: readonly TargetColumn[]): string {
  return columns.map((column) => quoteIdentifier(column.name)).join(', ')
}
