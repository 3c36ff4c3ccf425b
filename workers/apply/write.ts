import type { Batch, Destination, RowImage, TableOptions } from '../destination/destination.ts'
import type { LedgerTable } from '../destination/ledger.ts'
import type { TableDefinition } from '../source/table.ts'
import type { BatchEnd, TableBatch } from './batch.ts'
import { type Entry, keyText } from './compact.ts'
import type { SourceReader } from './source.ts'

export interface WriteContext {
  readonly destination: Destination
  /** Waits for a flush, and tells when that takes long. */
  readonly wait: <T>(flush: Promise<T>) => Promise<T>
  readonly source: Pick<SourceReader, 'reread'>
  readonly options: TableOptions
  /** Told how many rows had to be read again from the source. */
  readonly onReread: (rows: number) => void
}

/** Rows that are asked for at once when they have to be read again. */
const REREAD_ROWS = 500

/**
 * Writes a batch and moves the ledger with it (invariant I4), reading again from the source what cannot be known otherwise
 * (invariant I7, rule R18). Returns the ledger's row as it is then.
 *
 * When more is read again than memory should hold, part of the rows is written before, without moving the ledger: should
 * the process die in between, the same changes are applied once more, which ends in the same rows.
 */
export async function writeBatch(
  context: WriteContext,
  ledger: LedgerTable,
  batch: TableBatch,
  end: BatchEnd,
  signal: AbortSignal,
): Promise<LedgerTable> {
  const definition = batch.layout?.definition ?? emptyDefinition(ledger)
  const convert = createConverter(context.destination, definition)
  const entries = [...batch.keyed.entries.values()]
  const puts = entries.filter(({ image }) => image !== undefined)
  let doubtful = puts.filter(({ reread }) => reread)
  let ready = puts.filter(({ reread }) => !reread)
  let removals: Pick<Batch, 'truncate' | 'deletes'> = {
    truncate: batch.keyed.truncate || batch.keyless.truncate,
    deletes: entries.filter(({ image }) => image === undefined).map(({ key }) => convert.key(key)),
  }
  const keyless = [...batch.keyless.counts.values()].map(({ image, count }) => ({
    image: convert.image(image) as (string | null)[],
    count,
  }))
  let row = ledger
  for (;;) {
    if (doubtful.length > 0) {
      const taken = await resolve(context, definition, doubtful, signal)
      ready.push(...taken.resolved)
      removals = {
        ...removals,
        deletes: [...removals.deletes, ...taken.gone.map(({ key }) => convert.key(key))],
      }
      doubtful = doubtful.slice(taken.count)
    }
    const isLast = doubtful.length === 0
    const flush = context.destination.flush(
      {
        ledger: row,
        definition,
        options: context.options,
        ...removals,
        upserts: ready.map(({ image }) => convert.image(image ?? [])),
        keyless: isLast ? keyless : [],
        ...(isLast ? end : { nextOffset: row.nextOffset, position: row.position, facts: {} }),
      },
      signal,
    )
    const result = await context.wait(flush)
    if (result.kind === 'missing') {
      const missing = new Set(result.keys.map(keyText))
      const isMissing = ({ key }: Entry) => missing.has(keyText(convert.key(key)))
      doubtful = [...ready.filter(isMissing), ...doubtful]
      ready = ready.filter((entry) => !isMissing(entry))
      continue
    }
    row = result.ledger
    if (isLast) return row
    removals = { truncate: false, deletes: [] }
    ready = []
  }

  /**
   * Reads as many as fit into memory. Of those that are gone a delete follows, which is done at once: the destination may have
   * another row under the key that this change was to replace, and nobody should find it there until then.
   */
  async function resolve(
    { source, onReread }: WriteContext,
    table: TableDefinition,
    wanted: readonly Entry[],
    abort: AbortSignal,
  ): Promise<{ resolved: Entry[]; gone: Entry[]; count: number }> {
    const rows = wanted.slice(0, REREAD_ROWS)
    const lacking = table.columns.flatMap(({ name }, index) =>
      rows.some(({ image }) => image?.[index] === undefined) ? [{ name, index }] : [],
    )
    const request = { table, key: table.key, columns: lacking.map(({ name }) => name), rows }
    const { values } = await source.reread(request, abort)
    onReread(values.length)
    const resolved: Entry[] = []
    const gone: Entry[] = []
    for (const [number, found] of values.entries()) {
      const entry = rows[number]
      if (!entry?.image) continue
      if (!found) {
        gone.push(entry)
        continue
      }
      for (const [place, { index }] of lacking.entries()) {
        if (entry.image[index] === undefined) entry.image[index] = found[place] ?? null
      }
      resolved.push(entry)
    }
    return { resolved, gone, count: values.length }
  }
}

/** Invariant I10: the queue's text becomes what the backfill's expression makes of the same value. */
function createConverter(destination: Destination, table: TableDefinition) {
  const { columns, key } = table
  const keyColumns = key.map((name) => columns.find((column) => column.name === name))
  return {
    key: (values: readonly string[]): string[] =>
      values.map((value, index) => {
        const column = keyColumns[index]
        return (column && destination.convertValue(column, value, table)) ?? value
      }),
    image: (values: RowImage): RowImage =>
      values.map((value, index) => {
        const column = columns[index]
        return typeof value === 'string' && column ? destination.convertValue(column, value, table) : value
      }),
  }
}

/** For a batch that only moves the ledger. */
function emptyDefinition({ table }: LedgerTable): TableDefinition {
  return {
    ...table,
    oid: 0,
    columns: [],
    key: [],
    replicaIdentity: 'default',
    partitioned: false,
  }
}
