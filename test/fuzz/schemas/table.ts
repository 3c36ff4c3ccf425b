import type { Random } from '../../torture/random.ts'
import type { FuzzType } from './type.ts'

/** A column that is written. */
export interface FuzzColumn {
  readonly name: string
  readonly type: FuzzType
  readonly notNull: boolean
  /** It is part of what tells rows apart, or of another key. */
  readonly key: boolean
}

/**
 * What tells rows of a table apart: a primary key (`pk`), also with REPLICA IDENTITY FULL, another unique index as
 * replica identity (`uidx`, and beside a primary key `pkidx`), nothing (`full`), and what cannot be replicated.
 */
export const IDENTITIES = [
  'pk',
  'pkfull',
  'full',
  'uidx',
  'ufull',
  'pkidx',
  'pkdeferfull',
  'pkdefer',
  'none',
  'pknothing',
] as const

export type Identity = (typeof IDENTITIES)[number]

/** A table of the source: its definition, and what may be written. */
export interface FuzzTable {
  readonly schema: string
  readonly name: string
  /** As SQL names it. */
  readonly sql: string
  readonly identity: Identity
  readonly partitioned: boolean
  readonly ddl: readonly string[]
  readonly columns: readonly FuzzColumn[]
  /** The columns that tell rows apart; none for some. */
  readonly key: readonly FuzzColumn[]
}

/** Whether only copies from the primary that empty the destination are possible. */
export const isKeyless = ({ identity }: FuzzTable): boolean =>
  identity === 'full' || identity === 'pkdeferfull'

/** Whether rows of the same key are refused at once, so that ON CONFLICT can be said. */
export const refusesAtOnce = ({ identity, key }: FuzzTable): boolean =>
  key.length > 0 && !identity.startsWith('pkdefer')

/** Index entries have room for less than columns. */
const LONGEST_KEY = 300

/** A value for a column, in its text form; null for NULL. */
export function anyValue(random: Random, { type, key, notNull }: FuzzColumn): string | null {
  if (!notNull && random.chance(0.15)) return null
  if (!type.generate || !random.chance(key ? 0.6 : 0.5)) return random.pick(type.pool)
  const value = type.generate(random)
  const cuttable = key && !type.sql.endsWith('[]')
  // An even number of digits, should it be of bytes.
  return cuttable && value.length > 2 * LONGEST_KEY ? value.slice(0, LONGEST_KEY) : value
}
