/**
 * The questions to the source's catalog. All names come qualified by themselves, since sessions have nothing but
 * pg_catalog in their search path.
 */

import { equalityOperator, typeBehind } from '../../lib/postgres-types.ts'

/** $1 schema, $2 name. */
export const RELATION = `
  SELECT c.oid, c.relkind, c.relreplident, c.relpersistence, c.relispartition,
         pg_get_userbyid(c.relowner) AS owner,
         has_table_privilege(c.oid, 'SELECT') AS readable
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = $1 AND c.relname = $2`

/**
 * The oids of a table and of everything below it in a partitioned one. Unlike `pg_partition_tree()` this waits for no lock of a
 * leaf.
 *
 * @param oid SQL for the table's oid
 */
export const tableTree = (oid: string) => `
      WITH RECURSIVE tree(oid) AS (
        SELECT ${oid}::oid
        UNION ALL
        SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid AND NOT i.inhdetachpending
        JOIN pg_class part ON part.oid = i.inhrelid AND part.relispartition)
      SELECT tree.oid FROM tree`

/**
 * What an ADD COLUMN put into the rows that were there, by column name: PostgreSQL keeps it with the tables that hold the
 * rows, so of a partitioned table with its leaves, where the column may have another number. Leaves that came later, or were
 * rewritten, know nothing; those that know say the same. It stands in an array of one, which for most types reads like one of
 * texts; those with a delimiter of their own (box) have nothing to quote.
 *
 * @param oid SQL for the table's oid
 */
export const missingValues = (oid: string) => `
  SELECT leaf.attname, min(CASE WHEN type.typdelim = ',' THEN (leaf.attmissingval::text::text[])[1]
              ELSE trim(BOTH '{}' FROM leaf.attmissingval::text) END) AS value
  FROM pg_attribute leaf JOIN pg_type type ON type.oid = leaf.atttypid
  WHERE leaf.atthasmissing AND NOT leaf.attisdropped
    AND leaf.attrelid IN (${tableTree(oid)})
  GROUP BY leaf.attname`

/**
 * The default of a column `a` with the default `d`: without one of its own it is that of its domain `t`, as for ADD COLUMN.
 */
export const DEFAULT_EXPRESSION = 'coalesce(pg_get_expr(d.adbin, d.adrelid), pg_get_expr(t.typdefaultbin, 0))'

/** $1 oid. Published columns only: neither dropped nor generated. */
export const COLUMNS = `
  SELECT a.attnum, a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.atttypid, a.atttypmod, a.attnotnull,
         t.typtype, (t.typelem <> 0 AND t.typlen = -1 AND t.typcategory = 'A') AS is_array,
         CASE WHEN t.typtype <> 'd' AND t.typelem <> 0 AND t.typlen = -1 AND t.typcategory = 'A' THEN format_type(t.typelem, a.atttypmod)
              ELSE format_type(base.oid, base.modifier) END AS base_type,
         ${equalityOperator('base.oid')} AS equals,
         CASE WHEN t.typtype = 'd' AND base.kind = 'e' THEN format_type(base.oid, NULL) END AS compared_as,
         m.value AS missing, ${DEFAULT_EXPRESSION} AS default_expression, a.attidentity <> '' AS is_identity
  FROM pg_attribute a
  JOIN pg_type t ON t.oid = a.atttypid
  CROSS JOIN LATERAL (${typeBehind('a.atttypid', 'a.atttypmod')}) AS base
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN (${missingValues('$1')}) m ON m.attname = a.attname
  WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  ORDER BY a.attnum`

/** $1 oid. Indexes that could identify a row, best first: fewest columns, then oldest. */
export const UNIQUE_INDEXES = `
  SELECT i.indisprimary, i.indisreplident,
         (SELECT json_agg(a.attname ORDER BY k.place)
          FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
          WHERE k.place <= i.indnkeyatts) AS columns
  FROM pg_index i
  WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate
    AND i.indpred IS NULL AND i.indexprs IS NULL
    AND NOT EXISTS (
      SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
      WHERE k.place <= i.indnkeyatts AND (NOT a.attnotnull OR a.attgenerated <> ''))
  ORDER BY i.indnkeyatts, i.indexrelid`

/** Numbers of the columns of the index `i`, without those that it only includes. */
export const INDEX_NUMBERS = '(i.indkey::int2[])[0:i.indnkeyatts - 1]'

/** Whether the index `i` is the replica identity of its table `l`. */
export const IS_IDENTITY =
  "CASE l.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END"

/** $1 oid. The tables that hold the rows: the leaves of a partitioned table, else the table itself. */
export const LEAVES = `
  SELECT c.oid, n.nspname, c.relname, pg_relation_filenode(c.oid) AS filenode, i.xmin AS attached, i.cmin AS attached_command,
         (SELECT a.xmin FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = -1) AS created
  FROM pg_partition_tree($1::oid::regclass) t
  JOIN pg_class c ON c.oid = t.relid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
  WHERE t.isleaf AND c.relkind IN ('r', 'f')
  UNION ALL
  SELECT c.oid, n.nspname, c.relname, pg_relation_filenode(c.oid), NULL, NULL, NULL
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid = $1 AND c.relkind = 'r' AND NOT c.relispartition
  ORDER BY oid`
