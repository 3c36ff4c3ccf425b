/** The part of Redshift's SQL that the emulator understands. Names are folded already. */

/** `table`, `schema.table` or `database.schema.table`. */
export interface TableRef {
  readonly database?: string
  readonly schema?: string
  readonly name: string
}

export interface DataType {
  readonly kind:
    | 'smallint'
    | 'integer'
    | 'bigint'
    | 'numeric'
    | 'real'
    | 'double'
    | 'boolean'
    | 'char'
    | 'varchar'
    | 'date'
    | 'time'
    | 'timetz'
    | 'timestamp'
    | 'timestamptz'
    | 'super'
    | 'varbyte'
  /** Bytes of CHAR, VARCHAR and VARBYTE, digits of NUMERIC. */
  readonly length?: number
  readonly scale?: number
}

export type Expr =
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'null' }
  | { readonly kind: 'default' }
  | { readonly kind: 'param'; readonly name: string }
  | { readonly kind: 'column'; readonly path: readonly string[] }
  | { readonly kind: 'cast'; readonly value: Expr; readonly type: DataType }
  | { readonly kind: 'interval'; readonly value: string }
  | { readonly kind: 'unary'; readonly operator: '+' | '-' | 'not'; readonly value: Expr }
  | { readonly kind: 'binary'; readonly operator: string; readonly left: Expr; readonly right: Expr }
  | {
      readonly kind: 'is'
      readonly not: boolean
      readonly what: 'null' | 'true' | 'false' | 'unknown'
      readonly value: Expr
    }
  | {
      readonly kind: 'between'
      readonly not: boolean
      readonly value: Expr
      readonly low: Expr
      readonly high: Expr
    }
  | {
      readonly kind: 'in'
      readonly not: boolean
      readonly value: Expr
      readonly list: readonly Expr[] | Query
    }
  | {
      readonly kind: 'like'
      readonly not: boolean
      readonly operator: 'like' | 'ilike' | 'similar to'
      readonly value: Expr
      readonly pattern: Expr
      readonly escape?: string
    }
  | { readonly kind: 'exists'; readonly query: Query }
  | { readonly kind: 'subquery'; readonly query: Query }
  | { readonly kind: 'row'; readonly values: readonly Expr[] }
  | {
      readonly kind: 'case'
      readonly operand?: Expr
      readonly branches: readonly { readonly when: Expr; readonly result: Expr }[]
      readonly otherwise?: Expr
    }
  | FunctionCall

export interface FunctionCall {
  readonly kind: 'call'
  readonly name: string
  readonly args: readonly Expr[]
  readonly star: boolean
  readonly distinct: boolean
  /** LISTAGG … WITHIN GROUP (ORDER BY …). */
  readonly withinGroup?: readonly OrderItem[]
  readonly over?: Window
}

export interface Window {
  readonly partition: readonly Expr[]
  readonly order: readonly OrderItem[]
  /** `rows between unbounded preceding and current row`, as written. */
  readonly frame?: string
}

export interface OrderItem {
  readonly value: Expr
  readonly direction?: 'asc' | 'desc'
  readonly nulls?: 'first' | 'last'
}

export type SelectItem =
  | { readonly kind: 'star'; readonly table?: readonly string[] }
  | { readonly kind: 'value'; readonly value: Expr; readonly alias?: string }

export type FromItem =
  | { readonly kind: 'table'; readonly table: TableRef; readonly alias?: string }
  | {
      readonly kind: 'query'
      readonly query: Query
      readonly alias: string
      readonly columns?: readonly string[]
    }
  | {
      readonly kind: 'join'
      readonly type: 'inner' | 'left' | 'right' | 'full' | 'cross'
      readonly left: FromItem
      readonly right: FromItem
      readonly on?: Expr
      readonly using?: readonly string[]
    }

export interface SelectCore {
  readonly kind: 'select'
  readonly distinct: boolean
  readonly items: readonly SelectItem[]
  readonly from: readonly FromItem[]
  readonly where?: Expr
  readonly groupBy: readonly Expr[]
  readonly having?: Expr
}

export type QueryBody =
  | SelectCore
  | {
      readonly kind: 'set'
      readonly operator: 'union' | 'intersect' | 'except'
      readonly all: boolean
      readonly left: QueryBody
      readonly right: QueryBody
    }
  | { readonly kind: 'nested'; readonly query: Query }

export interface CommonTable {
  readonly name: string
  readonly columns?: readonly string[]
  readonly query: Query
}

export interface Query {
  readonly with: readonly CommonTable[]
  readonly body: QueryBody
  readonly orderBy: readonly OrderItem[]
  readonly limit?: Expr
  readonly offset?: Expr
}

export interface ColumnDefinition {
  readonly name: string
  readonly type: DataType
  readonly notNull: boolean
  readonly default?: Expr
  readonly identity?: { readonly byDefault: boolean; readonly seed: number; readonly step: number }
  readonly encode?: string
  readonly distkey: boolean
  readonly sortkey: boolean
  readonly primaryKey: boolean
  readonly unique: boolean
}

export interface TableConstraint {
  readonly name?: string
  readonly kind: 'primary key' | 'unique' | 'foreign key'
  readonly columns: readonly string[]
  readonly references?: TableRef
}

export interface TableAttributes {
  readonly diststyle?: 'auto' | 'even' | 'key' | 'all'
  readonly distkey?: string
  readonly sortkey?: {
    readonly style: 'compound' | 'interleaved' | 'auto'
    readonly columns: readonly string[]
  }
  readonly backup?: boolean
  readonly encodeAuto: boolean
}

export interface CreateTable {
  readonly kind: 'create table'
  readonly table: TableRef
  readonly temporary: boolean
  readonly ifNotExists: boolean
  readonly columns: readonly ColumnDefinition[]
  readonly constraints: readonly TableConstraint[]
  readonly like?: { readonly table: TableRef; readonly defaults: boolean }
  readonly attributes: TableAttributes
}

export type AlterAction =
  | { readonly kind: 'add column'; readonly column: ColumnDefinition }
  | { readonly kind: 'drop column'; readonly column: string; readonly cascade: boolean }
  | { readonly kind: 'alter type'; readonly column: string; readonly type: DataType }
  | {
      readonly kind: 'alter encode'
      readonly columns: readonly { readonly column: string; readonly encode: string }[]
    }
  | { readonly kind: 'rename to'; readonly name: string }
  | { readonly kind: 'rename column'; readonly column: string; readonly name: string }
  | { readonly kind: 'add constraint'; readonly constraint: TableConstraint }
  | { readonly kind: 'drop constraint'; readonly name: string }
  | { readonly kind: 'owner to'; readonly owner: string }
  | { readonly kind: 'alter attributes'; readonly attributes: TableAttributes }

export interface MergeStatement {
  readonly kind: 'merge'
  readonly table: TableRef
  readonly source: TableRef
  readonly alias?: string
  readonly on: Expr
  readonly matched:
    | { readonly kind: 'update'; readonly set: readonly Assignment[] }
    | { readonly kind: 'delete' }
  readonly insert: { readonly columns?: readonly string[]; readonly values: readonly Expr[] }
}

export interface Assignment {
  readonly column: string
  readonly value: Expr
}

export interface InsertStatement {
  readonly kind: 'insert'
  readonly table: TableRef
  readonly columns?: readonly string[]
  readonly source:
    | { readonly kind: 'values'; readonly rows: readonly (readonly Expr[])[] }
    | { readonly kind: 'query'; readonly query: Query }
    | { readonly kind: 'default values' }
}

export interface UpdateStatement {
  readonly kind: 'update'
  readonly with: readonly CommonTable[]
  readonly table: TableRef
  readonly alias?: string
  readonly set: readonly Assignment[]
  readonly from: readonly FromItem[]
  readonly where?: Expr
}

export interface DeleteStatement {
  readonly kind: 'delete'
  readonly with: readonly CommonTable[]
  readonly table: TableRef
  readonly using: readonly FromItem[]
  readonly where?: Expr
}

/** An option of COPY as written: its name in lower case, words joined by one blank, and what follows. */
export interface CopyOption {
  readonly name: string
  readonly value?: string
}

export interface CopyStatement {
  readonly kind: 'copy'
  readonly table: TableRef
  readonly columns?: readonly string[]
  readonly from: string
  readonly options: readonly CopyOption[]
}

export interface GrantStatement {
  readonly kind: 'grant' | 'revoke'
  readonly privileges: readonly string[] | 'all'
  readonly on:
    | { readonly kind: 'table'; readonly tables: readonly TableRef[] }
    | { readonly kind: 'schema' | 'database' | 'all tables'; readonly names: readonly string[] }
  readonly grantees: readonly { readonly kind: 'user' | 'group' | 'role' | 'public'; readonly name: string }[]
}

export type Statement =
  | { readonly kind: 'query'; readonly query: Query }
  | InsertStatement
  | UpdateStatement
  | DeleteStatement
  | MergeStatement
  | CopyStatement
  | CreateTable
  | {
      readonly kind: 'create table as'
      readonly table: TableRef
      readonly temporary: boolean
      readonly attributes: TableAttributes
      readonly query: Query
    }
  | { readonly kind: 'alter table'; readonly table: TableRef; readonly action: AlterAction }
  | {
      readonly kind: 'drop table' | 'drop view'
      readonly tables: readonly TableRef[]
      readonly ifExists: boolean
      readonly cascade: boolean
    }
  | { readonly kind: 'truncate'; readonly table: TableRef }
  | {
      readonly kind: 'create schema'
      readonly name: string
      readonly ifNotExists: boolean
      readonly owner?: string
    }
  | {
      readonly kind: 'drop schema'
      readonly names: readonly string[]
      readonly ifExists: boolean
      readonly cascade: boolean
    }
  | {
      readonly kind: 'create view'
      readonly view: TableRef
      readonly replace: boolean
      readonly columns?: readonly string[]
      readonly query: Query
    }
  | {
      readonly kind: 'comment'
      readonly on:
        | { readonly kind: 'table' | 'view'; readonly table: TableRef }
        | { readonly kind: 'column'; readonly table: TableRef; readonly column: string }
        | { readonly kind: 'schema'; readonly name: string }
      readonly text: string | null
    }
  | GrantStatement
  | { readonly kind: 'lock'; readonly tables: readonly TableRef[] }
  | { readonly kind: 'begin' }
  | { readonly kind: 'commit' }
  | { readonly kind: 'rollback' }
  | { readonly kind: 'set'; readonly name: string; readonly value: string }
  | { readonly kind: 'reset' | 'show'; readonly name: string }
  | { readonly kind: 'analyze' | 'vacuum'; readonly table?: TableRef }
  | { readonly kind: 'cancel'; readonly pid: number }
