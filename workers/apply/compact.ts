import type { RowLine } from '../queue/format.ts'
import type { LSN } from '../source/lsn.ts'
import type { Layout } from './layout.ts'

/** What a batch knows of one key: the row as it is to be, or that there is none. */
export interface Entry {
  readonly key: readonly string[]
  /** In the layout's column order; an `undefined` value is not known yet. Undefined: the row is deleted. */
  image: (string | null | undefined)[] | undefined
  /**
   * Values that are not known must be read from the source, since what stands in the destination under this key may be
   * another row or of unknown history (rules R16, R17). Otherwise they are in the destination's row.
   */
  reread: boolean
  /** Transaction of the last change: a server that is read again must be past it (rule R18). */
  lsn: LSN
  xid: number
}

/** Transaction of a change. */
export interface Transaction {
  readonly lsn: LSN
  readonly xid: number
}

/** Changes of a table with a key, gathered until they are written: one entry per key. */
export interface Compaction {
  /** The table is emptied before anything else is written. */
  truncate: boolean
  readonly entries: Map<string, Entry>
  /** Entries that have to be read again from the source. */
  rereads: number
}

export function createCompaction(): Compaction {
  return { truncate: false, entries: new Map(), rereads: 0 }
}

/** Distinguishes keys: NUL cannot be in a text of PostgreSQL. */
export function keyText(key: readonly string[]): string {
  return key.length === 1 ? (key[0] as string) : key.join('\0')
}

/**
 * Adds the next change; changes must come in commit order. Throws `Internal` for a row that has no key.
 *
 * @param unknownHistory rule R17: nothing may be taken from the rows that are in the destination
 */
export function addChange(
  batch: Compaction,
  layout: Layout,
  line: RowLine,
  transaction: Transaction,
  unknownHistory: boolean,
): void {
  switch (line[0]) {
    case 't':
      batch.truncate = true
      batch.entries.clear()
      batch.rereads = 0
      break
    case 'd':
      put(batch, layout.identity(line[2]), undefined, false, transaction)
      break
    case 'i':
      insert(batch, layout, layout.image(line[2]), transaction, unknownHistory)
      break
    case 'u':
      update(batch, layout, line, transaction, unknownHistory)
      break
  }
}

// An insert lacks a value only where the change is older than the column. A row that the scan has put there has it.
function insert(
  batch: Compaction,
  layout: Layout,
  image: (string | null | undefined)[],
  transaction: Transaction,
  unknownHistory: boolean,
): void {
  const key = layout.keyOf(image)
  const before = layout.isWide && batch.entries.has(keyText(key))
  put(batch, key, image, layout.isWide && (before || unknownHistory), transaction)
}

function update(
  batch: Compaction,
  layout: Layout,
  line: Extract<RowLine, readonly ['u', ...unknown[]]>,
  transaction: Transaction,
  unknownHistory: boolean,
): void {
  const image = layout.image(line[2])
  const key = layout.keyOf(image)
  const oldKey = line[3] === undefined ? key : layout.identity(line[3])
  const moved = line[3] !== undefined && keyText(oldKey) !== keyText(key)
  const before = batch.entries.get(keyText(oldKey))
  let reread = before ? before.image === undefined || before.reread : unknownHistory
  if (image.includes(undefined)) {
    const base = before?.image
    if (base)
      for (const [index, value] of image.entries()) if (value === undefined) image[index] = base[index]
    // Under its new key the destination may have another row by now, and under its old one too when this is applied.
    if (moved) reread = true
  }
  if (moved) put(batch, oldKey, undefined, false, transaction)
  put(batch, key, image, reread, transaction)
}

function put(
  batch: Compaction,
  key: readonly string[],
  image: (string | null | undefined)[] | undefined,
  reread: boolean,
  { lsn, xid }: Transaction,
): void {
  const text = keyText(key)
  const wanted = reread && image?.includes(undefined) === true
  const entry = batch.entries.get(text)
  if (entry?.reread) batch.rereads -= 1
  if (wanted) batch.rereads += 1
  if (!entry) {
    batch.entries.set(text, { key, image, reread: wanted, lsn, xid })
    return
  }
  entry.image = image
  entry.reread = wanted
  entry.lsn = lsn
  entry.xid = xid
}
