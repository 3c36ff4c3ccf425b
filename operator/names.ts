import { createHash } from 'node:crypto'

/** A name that is used as a label value too, as that of a Job is, may have 63 characters. */
const MAX = 63

/** Names up to this length stay as they are; longer ones become exactly `MAX` long, so the two never meet. */
const PLAIN = 62

/**
 * Name of a child: `<owner>-<suffix>`, or a shortened form that ends in a hash of the whole where that is too long or has
 * characters that not every kind takes. The same for the same owner and suffix, always.
 */
export function childName(owner: string, suffix: string): string {
  const plain = `${owner}-${suffix}`
  if (plain.length <= PLAIN && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(plain)) return plain
  return hashed(slug(owner), plain, suffix)
}

export interface NamedTable {
  readonly schema: string
  readonly name: string
}

/** Name of the TableBackfill that is made for a table when it joins. */
export function initialBackfillName(pipeline: string, table: NamedTable): string {
  return tableChildName(pipeline, table, 'initial')
}

/** Name of the one that mends a table after a gap; `round` counts those of one epoch, from 1. */
export function gapBackfillName(pipeline: string, table: NamedTable, epoch: number, round: number): string {
  return tableChildName(pipeline, table, round === 1 ? `gap-${epoch}` : `gap-${epoch}-${round}`)
}

/** Tables that differ in case or in odd characters only must not share a name, so only plain ones go without a hash. */
function tableChildName(pipeline: string, table: NamedTable, suffix: string): string {
  const plain = `${pipeline}-${table.schema}-${table.name}-${suffix}`
  const unambiguous = [table.schema, table.name].every((part) => /^[a-z0-9]+$/.test(part))
  if (unambiguous && plain.length <= PLAIN && !pipeline.includes('.')) return plain
  const exact = JSON.stringify([pipeline, table.schema, table.name, suffix])
  return hashed(slug(`${pipeline}-${table.schema}-${table.name}`), exact, suffix)
}

function hashed(readable: string, exact: string, suffix: string): string {
  const hash = createHash('sha256').update(exact).digest('hex')
  const tail = `-${suffix}`
  const head = readable.slice(0, MAX - tail.length - 11).replace(/-+$/, '')
  // Padded with more of the hash to the full length, which no plain name has.
  return `${head}-${hash.slice(0, MAX - tail.length - head.length - 1)}${tail}`
}

function slug(text: string): string {
  return (
    text
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, '-')
      .replaceAll(/^-+|-+$/g, '') || 'x'
  )
}
