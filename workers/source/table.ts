/** A table of the source, by its names there. */
export interface TableName {
  readonly schema: string
  readonly name: string
}

/** `schema.name`, quoted only where a reader could be misled. For messages, metrics and map keys; never for SQL. */
export function tableLabel(table: TableName): string {
  const part = (text: string) => (/^[\w$]+$/.test(text) ? text : JSON.stringify(text))
  return `${part(table.schema)}.${part(table.name)}`
}

/** A column as the source's catalog describes it. */
export interface Column {
  readonly name: string
  /** `format_type()` of the column: the type with its modifier, such as `numeric(12,2)`; types outside pg_catalog are qualified. */
  readonly type: string
  readonly typeOid: number
  readonly typeModifier: number
  /** What stands behind a domain, an enum or an array; decides the destination's type. */
  readonly typeKind: 'base' | 'domain' | 'enum' | 'composite' | 'range' | 'array'
  /** For a domain its base type, for an array its element type, as `format_type()` gives it; else the type itself. */
  readonly baseType: string
  readonly notNull: boolean
  /** The type's own equality, as an SQL operator, where the plain sign is not it: in a session that knows only pg_catalog. */
  readonly equals?: string
  /** The type that values are compared as, where PostgreSQL has no operators for the column's own: a domain over an enum. */
  readonly comparedAs?: string
  /** Constant default as text (what an ADD COLUMN put into the rows already there), when there is one. */
  readonly constantDefault?: string
}

/** SQL of a value of the column that can be compared with another such. */
export function comparable({ comparedAs }: Pick<Column, 'comparedAs'>, value: string): string {
  return comparedAs === undefined ? value : `${value}::${comparedAs}`
}

/** The same of a text, as the type's own output function wrote it. */
export function comparableText({ comparedAs, type, baseType = type }: ComparedColumn, text: string): string {
  // Of text PostgreSQL makes a regclass by looking for a relation of that name, which `-` and the number of one that is no
  // longer there are not; from bpchar there is no cast but by the type's input function, which takes all that is written.
  const own = baseType === 'regclass' ? `${text}::bpchar` : text
  return `${own}::${comparedAs ?? type}`
}

/** What comparing with a text has to know of a column. */
type ComparedColumn = Pick<Column, 'comparedAs' | 'type'> & Partial<Pick<Column, 'baseType'>>

/**
 * A table as it can be replicated: the published columns only, in catalog order, without generated ones.
 */
export interface TableDefinition extends TableName {
  /** pg_class.oid of the table, or of the partition root. */
  readonly oid: number
  readonly columns: readonly Column[]
  /**
   * Names of the columns that identify a row, in index order: the replica identity's index when one was chosen (deletes
   * then carry only its columns), else the primary key, else, with replica identity full, a unique index over NOT NULL
   * columns. Empty: the table has no key (rule R14).
   */
  readonly key: readonly string[]
  readonly replicaIdentity: 'default' | 'full' | 'index' | 'nothing'
  readonly partitioned: boolean
}

/** Columns of a table that a Pipeline replicates; at most one of the two lists is given. */
export interface ColumnFilter {
  readonly include?: readonly string[] | undefined
  readonly exclude?: readonly string[] | undefined
}
