import type { Expr, QueryBody, SelectCore } from './ast.ts'

/** Where a query stands: its rows go out or into a table, or another query works on them. */
export type Place = 'outer' | 'inner'

/**
 * Places, from 0, of the output columns that are nothing but string constants. Redshift makes VARCHAR of them, PostgreSQL
 * `text`, whose comparisons heed trailing blanks. A query of its own that is not combined with others is left as it is: there a
 * constant still takes the type of the column it goes into.
 */
export function textColumns(body: QueryBody, place: Place): ReadonlySet<number> {
  const blocks = blocksOf(body)
  const first = blocks[0]
  if (!first || (place === 'outer' && blocks.length === 1)) return new Set()
  if (blocks.some(({ items }) => items.some(({ kind }) => kind === 'star'))) return new Set()
  const places = first.items.map((_, index) => index)
  return new Set(places.filter((index) => isText(blocks.map((block) => valueAt(block, index)))))
}

function blocksOf(body: QueryBody): SelectCore[] {
  if (body.kind === 'nested') return blocksOf(body.query.body)
  return body.kind === 'set' ? [...blocksOf(body.left), ...blocksOf(body.right)] : [body]
}

function valueAt({ items }: SelectCore, index: number): Expr | undefined {
  const item = items[index]
  return item?.kind === 'value' ? item.value : undefined
}

function isText(values: readonly (Expr | undefined)[]): boolean {
  const isConstant = (value: Expr | undefined) => value?.kind === 'string' || value?.kind === 'param'
  return values.some(isConstant) && values.every((value) => isConstant(value) || value?.kind === 'null')
}
