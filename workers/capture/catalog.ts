import { typeBehind } from '../../lib/postgres-types.ts'
import type { HeaderType } from '../queue/format.ts'
import { chooseKey, IDENTITIES, literalText } from '../source/catalog.ts'
import { DEFAULT_EXPRESSION, missingValues, UNIQUE_INDEXES } from '../source/catalog-queries.ts'
import type { Connection, TextRow } from '../source/connect.ts'
import type { FoundFingerprint } from './fingerprint.ts'
import { LEAVES, toLeaves } from './leaf-facts.ts'
import type { RelationColumn } from './pgoutput.ts'

/** A type as a column has it, for looking up its name. */
type TypeKey = Pick<RelationColumn, 'typeOid' | 'typeModifier'>

const typeKey = (type: TypeKey) => `${type.typeOid}/${type.typeModifier}`

/** Types as a header has them. */
export interface NamedTypes {
  /** `format_type()` of each column, in their order. */
  readonly types: readonly string[]
  /** By name, what is behind those that are domains or enums. */
  readonly behind: ReadonlyMap<string, HeaderType>
}

/** Names of types by oid and modifier, as `format_type()` gives them, and what is behind them; asked once each. */
export interface TypeNames {
  /** Undefined when the type of a column has not been learnt. */
  known(columns: readonly TypeKey[]): NamedTypes | undefined
  learn(connection: Connection, columns: readonly TypeKey[]): Promise<void>
}

const TYPES = `
  SELECT o AS oid, m AS modifier, format_type(o, m) AS name, p.typtype AS kind,
         CASE WHEN p.typtype = 'd' THEN (SELECT format_type(base.oid, base.modifier) FROM (${typeBehind('o', 'm')}) AS base) END AS base
  FROM unnest($1::oid[], $2::int4[]) AS t(o, m) LEFT JOIN pg_type p ON p.oid = o`

export function createTypeNames(): TypeNames {
  const names = new Map<string, { readonly name: string; readonly behind: HeaderType | undefined }>()
  return {
    known(columns) {
      const types: string[] = []
      const behind = new Map<string, HeaderType>()
      for (const column of columns) {
        const found = names.get(typeKey(column))
        if (!found) return undefined
        types.push(found.name)
        if (found.behind) behind.set(found.name, found.behind)
      }
      return { types, behind }
    },
    async learn(connection, columns) {
      const unknown = columns.filter((column) => !names.has(typeKey(column)))
      if (unknown.length === 0) return
      const rows = await connection.query(TYPES, [
        `{${unknown.map((column) => column.typeOid).join(',')}}`,
        `{${unknown.map((column) => column.typeModifier).join(',')}}`,
      ])
      for (const row of rows) {
        names.set(`${row.oid}/${row.modifier}`, { name: row.name ?? '', behind: behindOf(row) })
      }
    },
  }
}

function behindOf({ kind, base }: TextRow): HeaderType | undefined {
  if (kind === 'd' && base) return ['domain', base]
  return kind === 'e' ? ['enum'] : undefined
}

/** The key's columns as the catalog has them now; empty when there is none, or no such table any more. */
export async function readKey(connection: Connection, oid: number): Promise<readonly string[]> {
  const [table] = await connection.query('SELECT relreplident FROM pg_class WHERE oid = $1', [String(oid)])
  if (!table) return []
  const indexes = await connection.query(UNIQUE_INDEXES, [String(oid)])
  return chooseKey(
    IDENTITIES[table.relreplident ?? ''] ?? 'nothing',
    indexes.map((row) => ({
      primary: row.indisprimary === 't',
      replicaIdentity: row.indisreplident === 't',
      columns: JSON.parse(row.columns ?? '[]') as string[],
    })),
  )
}

/**
 * What the texts of column `a` consist of beside what its type's name tells: the labels of enums, and the attributes of composite
 * types, wherever they stand in arrays, domains, ranges and each other. Types that come with PostgreSQL (their oids are
 * below FirstNormalObjectId) have none and never change.
 */
const TYPE_PARTS = `
  WITH RECURSIVE consists(oid) AS (
    SELECT a.atttypid WHERE a.atttypid >= 16384
    UNION
    SELECT inner_type.oid
    FROM consists JOIN pg_type t ON t.oid = consists.oid
    CROSS JOIN LATERAL (
      SELECT t.typbasetype WHERE t.typtype = 'd'
      UNION ALL SELECT t.typelem WHERE t.typelem <> 0
      UNION ALL SELECT part.atttypid FROM pg_attribute part
        WHERE t.typtype = 'c' AND part.attrelid = t.typrelid AND part.attnum > 0 AND NOT part.attisdropped
      UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid
      UNION ALL SELECT r.rngtypid FROM pg_range r WHERE r.rngmultitypid = t.oid) AS inner_type(oid))
  SELECT
    (SELECT json_build_array(json_object_agg(e.oid, e.enumlabel ORDER BY e.oid), json_object_agg(e.oid, e.xmin ORDER BY e.oid))
     FROM pg_enum e WHERE e.enumtypid IN (SELECT oid FROM consists)) AS labels,
    (SELECT json_agg(json_build_array(part.attnum, format_type(part.atttypid, part.atttypmod)) ORDER BY part.attrelid, part.attnum)
     FROM pg_type one JOIN pg_attribute part ON part.attrelid = one.typrelid AND part.attnum > 0 AND NOT part.attisdropped
     WHERE one.typtype = 'c' AND one.oid IN (SELECT oid FROM consists)) AS attributes`

// All of it as one snapshot has it: `pg_relation_filenode()` would tell the file of now beside the columns of before, and what a
// table was written anew for would be taken for seen.
const FACTS = `
  SELECT c.oid::text AS oid,
    (SELECT json_agg(json_build_array(a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), parts.labels,
              ${DEFAULT_EXPRESSION}, a.attidentity <> '', m.value, parts.attributes) ORDER BY a.attnum)
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
     CROSS JOIN LATERAL (${TYPE_PARTS}) parts
     LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     LEFT JOIN (${missingValues('c.oid')}) m ON m.attname = a.attname
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns,
    c.relnatts AS last_number,
    (SELECT json_agg(a.attnum ORDER BY a.attnum) FROM pg_attribute a
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.attisdropped) AS dropped,
    (SELECT json_agg(json_build_array(i.indisprimary, i.indisreplident,
              (SELECT json_agg(k.attnum ORDER BY k.place)
               FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place) WHERE k.place <= i.indnkeyatts))
            ORDER BY i.indnkeyatts, i.indexrelid)
     FROM pg_index i
     WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
       AND (i.indisprimary OR i.indisreplident)) AS indexes,
    c.relreplident AS identity,
    ${LEAVES} AS leaves
  FROM pg_class c WHERE c.oid = ANY ($1::oid[])`

const list = (oids: readonly number[]) => `{${oids.join(',')}}`

/** A digest of each table's fingerprint, by oid; cheap enough to be asked for all tables again and again. */
export async function readDigests(
  connection: Connection,
  oids: readonly number[],
): Promise<Map<number, string>> {
  const rows = await connection.query(
    `SELECT f.oid, hashtextextended(f::text, 0) AS digest FROM (${FACTS}) f`,
    [list(oids)],
  )
  return new Map(rows.map((row) => [Number(row.oid), row.digest ?? '']))
}

/** Undefined when there is no such table. */
export async function readFingerprint(
  connection: Connection,
  oid: number,
): Promise<FoundFingerprint | undefined> {
  const [row] = await connection.query(FACTS, [list([oid])])
  return row && toFingerprint(row)
}

type ColumnFacts = [
  number: number,
  name: string,
  type: string,
  enumeration: [labels: Record<string, string> | null, transactions: Record<string, string> | null] | null,
  expression: string | null,
  isIdentity: boolean,
  missing: string | null,
  attributes: [number, string][] | null,
]

/**
 * Whether an ADD COLUMN with this default had to compute a value for each row. Of one that is the same for all PostgreSQL keeps
 * the value beside the column, until the table is rewritten for another reason; a literal gives itself away even then.
 */
function isComputed(expression: string | null, missing: string | null): boolean {
  if (expression === null || missing !== null) return false
  // Said against a domain's default.
  if (expression.startsWith('NULL::')) return false
  return literalText(expression) === undefined
}

function toFingerprint(row: TextRow): FoundFingerprint {
  const columns = parse<ColumnFacts>(row.columns)
  const indexes = parse<[boolean, boolean, number[]]>(row.indexes)
  const wanted = row.identity === 'i' ? 1 : 0
  return {
    oid: Number(row.oid),
    columns: columns.map(([number, name, type, enumeration, expression, isIdentity, missing, attributes]) => {
      const [labels, labelled] = enumeration ?? [null, null]
      return {
        number,
        name,
        type,
        labels,
        computed: isIdentity || isComputed(expression, missing),
        missing,
        literal: literalText(expression ?? '') ?? null,
        ...(labelled && { labelled }),
        ...(attributes && { attributes: attributes.map((part) => part.join(' ')).join(', ') }),
      }
    }),
    lastNumber: Number(row.last_number),
    key: indexes.find((index) => index[wanted])?.[2] ?? [],
    leaves: toLeaves(row.leaves),
    droppedNumbers: parse<number>(row.dropped),
  }
}

function parse<Item>(text: string | null | undefined): Item[] {
  return text ? (JSON.parse(text) as Item[]) : []
}
