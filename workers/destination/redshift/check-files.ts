import { randomUUID } from 'node:crypto'
import { zstdCompressSync } from 'node:zlib'
import type { Files } from './context.ts'
import { refusal, StatementFailure, statementError } from './failures.ts'
import type { LedgerStore } from './ledger-store.ts'
import { copySQL } from './write-sql.ts'

const STAGE = 'millrace_check'

/**
 * Whether files can be written, loaded by COPY with its role, and removed: what every flush and chunk goes through, tried with
 * one row. Throws MillraceErrors that name the field.
 */
export async function checkFiles(files: Files, store: LedgerStore, signal: AbortSignal): Promise<void> {
  const calls = await files.objects()
  // Several processes of a Pipeline check at the same time.
  const name = `check-${randomUUID()}`
  const key = `${files.prefix}${name}.csv.zst`
  await calls.put(key, zstdCompressSync(Buffer.from('1\n')), signal)
  const { source, keys } = await files.manifest([key], name, signal)
  try {
    const load = [`CREATE TEMP TABLE ${STAGE} (n INTEGER)`, copySQL(STAGE, ['n'], source)]
    await store.transaction(load, 'millrace check', signal)
  } catch (error) {
    files.discard(keys)
    throw error instanceof StatementFailure
      ? statementError(error, 'a first COPY from spec.destination.redshift.s3')
      : error
  }
  await calls.remove(keys, signal).catch((error) => {
    throw signal.aborted ? signal.reason : refusal(error, 'S3')
  })
}
