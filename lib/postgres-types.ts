// What the catalog tells of a type, as SQL: the same at the source and at a destination that is a PostgreSQL.

/**
 * A query for the type behind any domains, with the modifier that they give it, and its kind (`typtype`).
 *
 * @param oid SQL for the oid of a type
 * @param modifier SQL for the modifier that it is used with
 */
export const typeBehind = (oid: string, modifier: string) => `
    WITH RECURSIVE behind(oid, modifier) AS (
      SELECT ${oid}, ${modifier}
      UNION ALL
      SELECT b.typbasetype, b.typtypmod FROM behind JOIN pg_type b ON b.oid = behind.oid WHERE b.typtype = 'd')
    SELECT behind.oid, behind.modifier, b.typtype AS kind
    FROM behind JOIN pg_type b ON b.oid = behind.oid WHERE b.typtype <> 'd'`

/**
 * An expression for the equality by which a type's index finds values; NULL = the plain sign does. Only types of
 * extensions need one of theirs: everything in pg_catalog is found without a name of the schema.
 *
 * @param oid SQL for the oid of a type that is not a domain
 */
export const equalityOperator = (oid: string) => `
         (SELECT 'OPERATOR(' || quote_ident(n.nspname) || '.' || op.oprname || ')'
          FROM pg_opclass c
          JOIN pg_amop o ON o.amopfamily = c.opcfamily AND o.amopstrategy = 3
            AND o.amoplefttype = c.opcintype AND o.amoprighttype = c.opcintype
          JOIN pg_operator op ON op.oid = o.amopopr JOIN pg_namespace n ON n.oid = op.oprnamespace
          WHERE c.opcmethod = 403 AND c.opcdefault AND c.opcintype = ${oid}
            AND n.nspname <> 'pg_catalog')`
