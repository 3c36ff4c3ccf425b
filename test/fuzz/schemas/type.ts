import type { Random } from '../../torture/random.ts'

/** A type of a column, and values of it. */
export interface FuzzType {
  /** As it stands in a definition. */
  readonly sql: string
  /** Awkward values. */
  readonly pool: readonly string[]
  /** More of them. */
  readonly generate?: (random: Random) => string
  /** A column of it may be part of a key. */
  readonly key?: boolean
  /** Values may be stored out of line. */
  readonly large?: boolean
  readonly collation?: string
  /** Between elements of an array; a comma by default. */
  readonly delimiter?: string
}

type More = Omit<FuzzType, 'sql' | 'pool'>

/** A type of which no key can be made. */
export const plain = (sql: string, pool: string | readonly string[], more: More = {}): FuzzType => ({
  sql,
  pool: typeof pool === 'string' ? pool.split('¦') : pool,
  ...more,
})

/** A type that keys can be of. */
export const keyed = (sql: string, pool: string | readonly string[], more: More = {}): FuzzType => ({
  ...plain(sql, pool, more),
  key: true,
})
