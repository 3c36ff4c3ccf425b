import { appendFileSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import type { StatementRecord } from './api/store.ts'

/** Keeps every statement that was received, for whoever wants to check them all. */
export interface StatementLog {
  append(record: StatementRecord): void
}

/**
 * Appends to a file of JSON lines: `sql`, and `batch`, the id of the batch, when it came in one. Written at once, so that
 * the file is whole whenever a test reads it.
 */
export function createStatementLog(path: string | undefined): StatementLog {
  if (path === undefined) return { append: () => {} }
  mkdirSync(dirname(path), { recursive: true })
  return {
    append: ({ id, request }) => {
      const lines = request.sqls.map((sql) => JSON.stringify(request.batch ? { sql, batch: id } : { sql }))
      appendFileSync(path, `${lines.join('\n')}\n`)
    },
  }
}
