import { MillraceError } from '../../lib/errors.ts'
import type { QueueValue, RowLine } from '../queue/format.ts'
import { tableLabel } from '../source/table.ts'
import type { Layout } from './layout.ts'

/** Changes of a table without a key: how often each image is to be added or, negative, taken away. */
export interface Multiset {
  truncate: boolean
  readonly counts: Map<string, { readonly image: readonly (string | null)[]; count: number }>
}

export function createMultiset(): Multiset {
  return { truncate: false, counts: new Map() }
}

/** Adds the next change; changes must come in commit order. Throws `Internal` when an old row is missing. */
export function addKeylessChange(batch: Multiset, layout: Layout, line: RowLine): void {
  if (line[0] === 't') {
    batch.truncate = true
    batch.counts.clear()
    return
  }
  const old = line[0] === 'd' ? line[2] : line[3]
  if (line[0] !== 'i') {
    if (old === undefined) throw incomplete(layout)
    count(batch, whole(layout, old), -1)
  }
  if (line[0] !== 'd') count(batch, whole(layout, line[2]), 1)
}

function count(batch: Multiset, image: readonly (string | null)[], by: number): void {
  const text = JSON.stringify(image)
  const entry = batch.counts.get(text) ?? { image, count: 0 }
  entry.count += by
  if (entry.count === 0) batch.counts.delete(text)
  else batch.counts.set(text, entry)
}

/**
 * There is no row to take a lacking value from. A column that is younger than the change was added with the source's
 * constant default in all rows, this one included (rule R19).
 */
function whole(layout: Layout, values: readonly QueueValue[]): readonly (string | null)[] {
  if (values.includes(0)) throw incomplete(layout)
  const { columns } = layout.definition
  return layout
    .image(values)
    .map((value, index) => (value === undefined ? (columns[index]?.constantDefault ?? null) : value))
}

function incomplete(layout: Layout): MillraceError {
  return new MillraceError(
    'NoReplicaIdentity',
    `a change of table ${tableLabel(layout.definition)}, which has no key, came without the whole old row: run ALTER TABLE … REPLICA IDENTITY FULL on the source, then apply a TableBackfill with destinationTable Truncate`,
    { field: 'spec.tables' },
  )
}
