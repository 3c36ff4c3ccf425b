import type { Logger } from '../../../lib/log.ts'
import type { LedgerStore } from './ledger-store.ts'

/**
 * How many chunks, of those that are ready, one COPY loads. Each slice of a warehouse reads a file at a time, so that a COPY is done
 * soonest when every slice has as many as the others: the chunks behind the last full round wait for the next COPY. All of them go
 * when they fill no round, or come to none: a chunk's files stay together.
 *
 * @param files of each chunk, in the order that they are loaded in
 * @param slices of the warehouse; undefined: not known
 * @source https://docs.aws.amazon.com/redshift/latest/dg/c_best-practices-use-multiple-files.html
 */
export function fitSlices(files: readonly number[], slices: number | undefined): number {
  if (slices === undefined || slices < 2) return files.length
  let fitting = 0
  let sum = 0
  files.forEach((count, index) => {
    sum += count
    if (sum > 0 && sum % slices === 0) fitting = index + 1
  })
  return fitting === 0 ? files.length : fitting
}

/**
 * Number of slices of the warehouse, asked for once. Undefined where it does not say: Serverless has them, and shows them to
 * nobody.
 */
export function createSliceCount(
  store: Pick<LedgerStore, 'query'>,
  log: Logger,
): (signal: AbortSignal) => Promise<number | undefined> {
  let known: { readonly slices: number | undefined } | undefined
  return async (signal) => {
    if (known) return known.slices
    try {
      const [row] = await store.query('SELECT COUNT(*) AS slices FROM stv_slices', 'millrace slices', signal)
      const slices = Number(row?.slices)
      known = { slices: slices > 0 ? slices : undefined }
    } catch (error) {
      signal.throwIfAborted()
      log.info({ err: error }, 'The warehouse does not tell how many slices it has')
      known = { slices: undefined }
    }
    return known.slices
  }
}
