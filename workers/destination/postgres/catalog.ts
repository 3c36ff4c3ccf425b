import { equalityOperator, typeBehind } from '../../../lib/postgres-types.ts'
import { quoteTable } from '../../../lib/sql.ts'
import type { TableName } from '../../source/table.ts'
import type { Session } from './sessions.ts'

/** A table of the destination as its catalog describes it. */
export interface TargetTable {
  readonly name: TableName
  readonly oid: string
  /** What it is: a table, a partitioned one, or something that rows cannot be replicated into. */
  readonly kind: 'table' | 'partitioned' | 'other'
  /** In catalog order. */
  readonly columns: readonly TargetColumn[]
  readonly primaryKey: { readonly constraint: string; readonly columns: readonly string[] } | undefined
  /** Columns of each valid unique index without predicate or expression, the primary key's included. */
  readonly uniqueKeys: readonly (readonly string[])[]
  /** Changes whenever a column does. */
  readonly fingerprint: string
}

export interface TargetColumn {
  readonly name: string
  /** With its modifier, such as `character varying(10)`; what a column is declared as. */
  readonly type: string
  /** For a domain the type behind it, else `type`. */
  readonly baseType: string
  /** Without a modifier: what a value is cast to, so that a modifier is enforced by the assignment and never cuts in silence. */
  readonly castType: string
  readonly notNull: boolean
  /** It fills itself when an INSERT leaves it out. */
  readonly hasDefault: boolean
  readonly generated: boolean
  /** An identity that refuses values of others. */
  readonly alwaysIdentity: boolean
  /** The type's own equality, as an SQL operator. */
  readonly equals: string
}

/** Column list of a relation as text that changes whenever one of them does; `$1` is the quoted name. */
export const FINGERPRINT = `(
  SELECT to_regclass($1)::oid || ':' ||
    md5(string_agg(concat_ws(' ', a.attname, a.atttypid, a.atttypmod, a.attnotnull), ',' ORDER BY a.attnum))
  FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped)`

// format_type() with modifier -1 writes "bit" and bpchar where a bare bit or character would mean a length of 1.
const COLUMNS = `
  SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, format_type(a.atttypid, -1) AS cast_type,
    CASE t.typtype WHEN 'd' THEN format_type(base.oid, base.modifier) END AS base_type,
    a.attnotnull AS not_null, a.atthasdef OR a.attidentity <> '' AS has_default, a.attgenerated <> '' AS generated,
    a.attidentity = 'a' AS always_identity, ${equalityOperator('base.oid')} AS equals
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
  CROSS JOIN LATERAL (${typeBehind('a.atttypid', 'a.atttypmod')}) AS base
  WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
  ORDER BY a.attnum`

const INDEXES = `
  SELECT i.indisprimary AS is_primary, c.conname AS constraint,
    (SELECT json_agg(a.attname ORDER BY k.n)
     FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, n)
     JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
     WHERE k.n <= i.indnkeyatts) AS columns
  FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype = 'p'
  WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indimmediate
    AND i.indpred IS NULL AND i.indexprs IS NULL
  ORDER BY i.indexrelid`

/** The destination's table, or undefined when there is none of that name. */
export async function readTarget(
  session: Pick<Session, 'query'>,
  name: TableName,
): Promise<TargetTable | undefined> {
  const of = [quoteTable(name)]
  const found = await session.query(
    `SELECT c.oid, c.relkind, ${FINGERPRINT} AS fingerprint FROM pg_class c WHERE c.oid = to_regclass($1)`,
    of,
  )
  const table = found[0]
  if (!table) return undefined
  const columns = await session.query(COLUMNS, of)
  const indexes = (await session.query(INDEXES, of)).map((row) => ({
    primary: row.is_primary === 't',
    constraint: row.constraint ?? '',
    columns: JSON.parse(row.columns ?? '[]') as string[],
  }))
  const primary = indexes.find((index) => index.primary)
  return {
    name,
    oid: table.oid ?? '',
    kind: table.relkind === 'r' ? 'table' : table.relkind === 'p' ? 'partitioned' : 'other',
    columns: columns.map((row) => ({
      name: row.name ?? '',
      type: row.type ?? '',
      castType: row.cast_type ?? '',
      baseType: row.base_type ?? row.type ?? '',
      notNull: row.not_null === 't',
      hasDefault: row.has_default === 't',
      generated: row.generated === 't',
      alwaysIdentity: row.always_identity === 't',
      equals: row.equals ?? '=',
    })),
    primaryKey: primary && { constraint: primary.constraint, columns: primary.columns },
    uniqueKeys: indexes.map((index) => index.columns),
    fingerprint: table.fingerprint ?? '',
  }
}

/** Which of these types the destination has, as a map from the type's text to how the destination writes it. */
export async function knownTypes(
  session: Pick<Session, 'query'>,
  types: readonly string[],
): Promise<ReadonlySet<string>> {
  const wanted = [...new Set(types)]
  if (wanted.length === 0) return new Set()
  const rows = await session.query(
    `SELECT t.name FROM json_array_elements_text($1::json) AS t (name) WHERE to_regtype(t.name) IS NOT NULL`,
    [JSON.stringify(wanted)],
  )
  return new Set(rows.map((row) => row.name ?? ''))
}
