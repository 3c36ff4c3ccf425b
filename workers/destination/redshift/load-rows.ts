import type { RedshiftContext } from './context.ts'
import { csvLine } from './csv.ts'
import { workName } from './ensure-table.ts'
import type { LoadedRows } from './ledger.ts'
import type { RowWrite } from './transaction-sql.ts'
import { createUpload } from './upload.ts'
import { copySQL, countCopiedSQL } from './write-sql.ts'

/** New rows of a ledger that go inside of the statements, of which a batch has room for 40 of 100 KB. */
const INLINE_BYTES = 1_000_000

/** Many new rows of a ledger: plans of large tables have more chunks than statements have room for. */
export async function loadRows(
  { files, store }: RedshiftContext,
  ledger: string,
  rows: readonly RowWrite[],
  signal: AbortSignal,
): Promise<LoadedRows> {
  const lines = rows.map(({ content }) =>
    csvLine([content.id, content.state, '1', JSON.stringify(content.facts)]),
  )
  const size = lines.reduce((sum, line) => sum + line.length, 0)
  if (size <= INLINE_BYTES) return { work: [], writes: rows, done: () => {} }
  const name = workName(store.pipeline, ledger, rows[0]?.content.id ?? '', rows.length, size)
  const upload = createUpload({
    objects: await files.objects(),
    prefix: `${files.prefix}ledger/${name}-`,
    fileBytes: Number.POSITIVE_INFINITY,
  })
  try {
    for (const line of lines) {
      const bytes = Buffer.from(line)
      await upload.write(bytes, signal)
    }
    const { source, keys } = await files.manifest(await upload.finish(signal), `ledger/${name}`, signal)
    return {
      work: [
        { sql: copySQL(ledger, ['id', 'state', 'version', 'facts'], source) },
        { sql: countCopiedSQL(BigInt(rows.length)), guard: 'the number of chunks' },
      ],
      writes: [],
      done: () => files.discard(keys),
    }
  } catch (error) {
    upload.abandon()
    files.discard(upload.keys)
    throw error
  }
}
