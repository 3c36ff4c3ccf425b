import { SOFT_DELETE_COLUMN } from '../names.ts'
import type { TargetTable } from './catalog.ts'
import { literal, typedLiteral } from './literals.ts'
import { NULL_TEXT } from './marks.ts'
import { foldName, quoteName, quoteTableName } from './names.ts'
import { type RedshiftType, typeText } from './redshift-type.ts'
import { assertSQL } from './transaction-sql.ts'

/** How rows of a definition are written into a table of the destination. */
export interface Writing {
  readonly table: TargetTable
  /** Of the definition, in its order, with the types that the destination has. */
  readonly columns: readonly WritingColumn[]
  /** Where the key's columns stand in `columns`. */
  readonly key: readonly number[]
  /** The table has the column of soft deletes. */
  readonly softColumn: boolean
  /** Columns that the source does not have (any more), which rows keep when they are written anew. */
  readonly own: readonly WritingColumn[]
}

export interface WritingColumn {
  /** In the source. */
  readonly name: string
  readonly type: RedshiftType
}

/**
 * The temporary table that rows of one transaction are gathered in. It goes with the Data API's session, at the end of the
 * transaction, so that none is ever left behind. Its columns are `c0`, `c1`, … in the definition's order, after those that say
 * what the row is for.
 */
export interface Stage {
  readonly name: string
  /** Columns before the definition's. */
  readonly extra: readonly { readonly name: string; readonly type: RedshiftType }[]
}

const integer: RedshiftType = { kind: 'integer' }
const letter: RedshiftType = { kind: 'char', length: 1 }

/** Rows of a chunk: nothing but values. */
export const CHUNK_STAGE: Stage = { name: '"millrace_rows"', extra: [] }
/** Rows of a flush: `o` is what to do, `n` which pattern of unchanged columns (0: none), or how often. */
export const FLUSH_STAGE: Stage = {
  name: '"millrace_rows"',
  extra: [
    { name: 'o', type: letter },
    { name: 'n', type: integer },
  ],
}

/** Its columns are qualified wherever the table's are in sight: those may have the same names. */
const STAGED = FLUSH_STAGE.name
/** Alias of what stands beside the table, which has none: not a name that a table is likely to have. */
export const BESIDE = 'millrace_s'

/** What `o` is. */
export const UPSERT = 'u'
export const DELETE = 'd'
/** Of a table without a key: one row more, and `n` rows less. */
export const ADD = '+'
export const REMOVE = '-'

export function createStageSQL({ columns, own }: Writing, { name, extra }: Stage): string {
  const typed = [
    ...extra.map((column) => `${column.name} ${typeText(column.type)}`),
    ...columns.map(({ type }, index) => `c${index} ${typeText(type)}`),
    ...(own.length > 0 ? ['kept BOOLEAN DEFAULT FALSE'] : []),
    ...own.map(({ type }, index) => `e${index} ${typeText(type)}`),
  ]
  return `CREATE TEMP TABLE ${name} (${typed.join(', ')})`
}

/** Where COPY reads from. */
export interface CopySource {
  readonly manifest: string
  readonly iamRoleArn: string | undefined
  /** Undefined: that of the cluster. */
  readonly region: string | undefined
}

export function copyStageSQL({ columns }: Writing, { name, extra }: Stage, source: CopySource): string {
  const list = [...extra.map((column) => column.name), ...columns.map((_, index) => `c${index}`)]
  return copySQL(name, list, source)
}

/** Loads straight into the table. */
export function copyTargetSQL({ table, columns }: Writing, source: CopySource): string {
  return copySQL(
    quoteTableName(table.name),
    columns.map(({ name }) => quoteName(name)),
    source,
  )
}

// TRUNCATECOLUMNS, ACCEPTINVCHARS and MAXERROR are left out on purpose: what they would change or pass over was dealt with before.
export function copySQL(
  into: string,
  columns: readonly string[],
  { manifest, iamRoleArn, region }: CopySource,
): string {
  const role = iamRoleArn === undefined ? 'DEFAULT' : literal(iamRoleArn)
  return `COPY ${into} (${columns.join(', ')}) FROM ${literal(manifest)} IAM_ROLE ${role}${region === undefined ? '' : ` REGION ${literal(region)}`} MANIFEST FORMAT CSV ZSTD NULL AS ${literal(NULL_TEXT)} DATEFORMAT 'auto' TIMEFORMAT 'auto' COMPUPDATE OFF STATUPDATE OFF`
}

/** Fails unless the COPY before it has loaded so many rows. */
export function countCopiedSQL(rows: bigint): string {
  return assertSQL(`PG_LAST_COPY_COUNT() = ${rows}`)
}

/** One row of an INSERT, as the file would have it. */
export function insertRow(types: readonly RedshiftType[], values: readonly (string | null)[]): string {
  return `(${types.map((type, index) => typedLiteral(type, values[index] ?? null)).join(', ')})`
}

export function insertStageSQL(
  { columns }: Writing,
  { name, extra }: Stage,
  rows: readonly string[],
): string {
  const list = [...extra.map((column) => column.name), ...columns.map((_, index) => `c${index}`)]
  return `INSERT INTO ${name} (${list.join(', ')}) VALUES ${rows.join(', ')}`
}

/** Gives staged rows the values of unchanged columns from the rows that are there; `n` becomes 0 where there was one. */
export function fillSQL(writing: Writing, pattern: number, unchanged: readonly number[]): string {
  const { columns } = writing
  const sets = unchanged.map((index) => `c${index} = ${target(writing, columns[index]?.name ?? '')}`)
  return `UPDATE ${FLUSH_STAGE.name} SET ${[...sets, 'n = 0'].join(', ')} FROM ${quoteTableName(writing.table.name)} WHERE ${STAGED}.n = ${pattern} AND ${sameKey(writing)}${alive(writing)}`
}

/** The same for more patterns than there is room for statements. */
export function fillCasesSQL(writing: Writing, patterns: readonly (readonly number[])[]): string {
  const { columns } = writing
  const sets = columns.flatMap(({ name }, index) => {
    const numbers = patterns.flatMap((unchanged, place) => (unchanged.includes(index) ? [place + 1] : []))
    if (numbers.length === 0) return []
    return `c${index} = CASE WHEN ${STAGED}.n IN (${numbers.join(', ')}) THEN ${target(writing, name)} ELSE ${STAGED}.c${index} END`
  })
  return `UPDATE ${FLUSH_STAGE.name} SET ${[...sets, 'n = 0'].join(', ')} FROM ${quoteTableName(writing.table.name)} WHERE ${STAGED}.n > 0 AND ${sameKey(writing)}${alive(writing)}`
}

/** Fails when staged rows still lack values. */
export function assertFilledSQL(): string {
  return assertSQL('COUNT(*) = 0', `${FLUSH_STAGE.name} WHERE n > 0`)
}

/** Marks rows as deleted whose key is staged to be. */
export function softDeleteSQL(writing: Writing): string {
  return `UPDATE ${quoteTableName(writing.table.name)} SET ${SOFT} = TRUE FROM ${FLUSH_STAGE.name} WHERE ${STAGED}.o = '${DELETE}' AND ${sameKey(writing)}`
}

/** Takes away the rows whose key is staged; `o` restricts what for. */
export function deleteSQL(writing: Writing, stage: Stage, o?: string): string {
  const only = o === undefined ? '' : `${stage.name}.o = '${o}' AND `
  return `DELETE FROM ${quoteTableName(writing.table.name)} USING ${stage.name} WHERE ${only}${sameKey(writing, stage.name)}`
}

/** Gives staged rows the values of the table's own columns from the rows that they replace. */
export function keepSQL(writing: Writing, stage: Stage): string[] {
  if (writing.own.length === 0) return []
  const sets = writing.own.map(({ name }, index) => `e${index} = ${target(writing, name)}`)
  return [
    `UPDATE ${stage.name} SET ${[...sets, 'kept = TRUE'].join(', ')} FROM ${quoteTableName(writing.table.name)} WHERE ${sameKey(writing, stage.name)}`,
  ]
}

/** Puts staged rows into the table; `o` restricts which. */
export function insertSQL(writing: Writing, stage: Stage, o?: string): string[] {
  const { table, columns, softColumn, own } = writing
  const insert = (kept: boolean) => {
    const names = columns.map(({ name }) => quoteName(name))
    const values = columns.map((_, index) => `c${index}`)
    if (softColumn) {
      names.push(SOFT)
      values.push('FALSE')
    }
    if (kept) {
      names.push(...own.map(({ name }) => quoteName(name)))
      values.push(...own.map((_, index) => `e${index}`))
    }
    const conditions = [
      ...(o === undefined ? [] : [`o = '${o}'`]),
      ...(own.length === 0 ? [] : [kept ? 'kept' : 'NOT kept']),
    ]
    return `INSERT INTO ${quoteTableName(table.name)} (${names.join(', ')}) SELECT ${values.join(', ')} FROM ${stage.name}${conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`}`
  }
  // A new row gets the defaults of the table's own columns.
  return own.length === 0 ? [insert(false)] : [insert(true), insert(false)]
}

/** Empties the table within the transaction. A soft deletion keeps the rows. */
export function emptySQL({ table }: Pick<Writing, 'table'>, how: 'hard' | 'soft'): string {
  const name = quoteTableName(table.name)
  return how === 'hard'
    ? `DELETE FROM ${name}`
    : `UPDATE ${name} SET ${SOFT} = TRUE WHERE NOT COALESCE(${SOFT}, FALSE)`
}

/** Empties the table and commits the transaction. */
export function truncateSQL({ table }: Pick<Writing, 'table'>): string {
  return `TRUNCATE ${quoteTableName(table.name)}`
}

export const SOFT = quoteName(SOFT_DELETE_COLUMN)

/** A row that is deleted, if softly, has nothing to give to another that comes later under its key. */
export function alive({ table, softColumn }: Writing): string {
  return softColumn ? ` AND NOT COALESCE(${qualifier(table)}.${SOFT}, FALSE)` : ''
}

// Redshift takes no alias in DELETE, and the schema's name only where the table is named.
export function qualifier(table: TargetTable): string {
  return quoteName(table.name.name)
}

function target({ table }: Writing, column: string): string {
  return `${qualifier(table)}.${quoteName(column)}`
}

/** SQL: the table's row has the key of the one that is staged. */
export function sameKey(writing: Writing, stage = FLUSH_STAGE.name): string {
  return writing.key
    .map((index) => {
      const column = writing.columns[index] as WritingColumn
      const [there, here] = [target(writing, column.name), `${stage}.c${index}`]
      // Redshift compares texts without their trailing blanks, the source does not.
      return column.type.kind === 'varchar'
        ? `${there} = ${here} AND LEN(${there}) = LEN(${here})`
        : `${there} = ${here}`
    })
    .join(' AND ')
}

/** Name of the column behind the one of a stage; other names come back as they are. */
export function stagedColumn({ columns }: Writing, name: string): string {
  const index = /^c(\d+)$/.exec(name)?.[1]
  return (
    (index === undefined ? columns.find((column) => foldName(column.name) === name) : columns[Number(index)])
      ?.name ?? name
  )
}
