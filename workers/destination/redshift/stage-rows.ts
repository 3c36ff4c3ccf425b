import type { ObjectCalls } from './aws.ts'
import type { Buffers } from './buffers.ts'
import type { ScannedColumn } from './row-fields.ts'
import { createRowScanner, type RowScanner } from './row-scanner.ts'
import { createUpload } from './upload.ts'

/**
 * Compressed: between the 1 and 125 MB that Redshift likes, and small enough for two of them to be in memory for each reader. The
 * last block of rows comes on top, and buffers double: so a little less than 8 MB.
 */
const FILE_BYTES = 7.5 * 1024 * 1024

export interface StagedRows {
  readonly keys: string[]
  readonly rows: bigint
  /** As the source has sent them. */
  readonly bytes: bigint
  /** Values that did not fit, by the column's place. */
  readonly unfit: ReadonlyMap<number, number>
}

export interface RowStage {
  /** Writes rows into files; `inspect` is called as they pass, and may throw. */
  write(
    pieces: AsyncIterable<Buffer>,
    inspect: (scanner: RowScanner) => void,
    signal: AbortSignal,
  ): Promise<StagedRows>
  /** Lets go of what is at work. */
  abandon(): void
  /** Files so far, for whoever removes them. */
  readonly keys: readonly string[]
}

/** Where the rows of one chunk are put for COPY, into files whose keys begin with `prefix`. */
export function createRowStage(
  objects: ObjectCalls,
  prefix: string,
  columns: readonly ScannedColumn[],
  buffers: Buffers,
): RowStage {
  const upload = createUpload({ objects, prefix, fileBytes: FILE_BYTES, buffers })
  const scanner = createRowScanner(columns)
  return {
    async write(pieces, inspect, signal) {
      let bytes = 0n
      for await (const piece of pieces) {
        bytes += BigInt(piece.length)
        for (const rows of scanner.push(piece)) await upload.write(rows, signal)
        inspect(scanner)
      }
      for (const rows of scanner.end()) await upload.write(rows, signal)
      inspect(scanner)
      const keys = await upload.finish(signal)
      return { keys, rows: BigInt(scanner.rows()), bytes, unfit: scanner.unfit }
    },
    abandon: upload.abandon,
    keys: upload.keys,
  }
}
