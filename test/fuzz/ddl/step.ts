import type { Random } from '../../torture/random.ts'
import { ident } from '../sql.ts'
import type { ScriptSession } from './session.ts'
import type { TableKind } from './tables.ts'
import type { CatalogColumn } from './writes.ts'

/** What a step of a script knows and may do. */
export interface StepContext {
  /** The table's name, which needs no quotes. */
  readonly table: string
  readonly kind: TableKind
  readonly partitioned: boolean
  readonly random: Random
  readonly session: ScriptSession
  readonly columns: readonly CatalogColumn[]
  /** One of those that no other step counts on; undefined when none is left. */
  readonly column: CatalogColumn | undefined
  /** How many of those there are. */
  readonly spare: number
  /** Partitions that hold rows, as SQL names them. */
  readonly leaves: readonly string[]
  /** A name for a new column, which may be taken. */
  readonly fresh: string
  /** Changes some rows. */
  write(): Promise<void>
  pause(): Promise<void>
}

export type Step = (context: StepContext) => Promise<unknown>

export type Steps = Readonly<Record<string, Step>>

/** A step of one ALTER TABLE. */
export const alter =
  (action: (context: StepContext) => string): Step =>
  (context) =>
    context.session.exec(`alter table ${context.table} ${action(context)}`)

/** A step of one of several statements. */
export const oneOf =
  (statements: (context: StepContext) => readonly string[]): Step =>
  (context) =>
    context.session.exec(context.random.pick(statements(context)))

/** A step that needs a column that no other step counts on. */
export const withColumn =
  (work: (context: StepContext, name: string, column: CatalogColumn) => Promise<unknown>): Step =>
  async (context) => {
    if (context.column) await work(context, ident(context.column.name), context.column)
  }

/** A step that needs a partition. */
export const withLeaf =
  (work: (context: StepContext, leaf: string) => Promise<unknown>): Step =>
  async (context) => {
    if (context.leaves.length > 0) await work(context, context.random.pick(context.leaves))
  }
