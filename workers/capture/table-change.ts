import type { ErrorCode } from '../../lib/errors.ts'

/** What happened to a table that row events do not show. */
export interface TableChange {
  readonly code: Extract<ErrorCode, 'TableChanged' | 'SchemaChangeUnsupported'>
  readonly message: string
}

export function retyped(name: string, from: string, to: string): TableChange {
  return {
    code: 'SchemaChangeUnsupported',
    message: advice(`column ${JSON.stringify(name)} was changed from ${from} to ${to}`),
  }
}

export function changed(what: string): TableChange {
  return { code: 'TableChanged', message: advice(what) }
}

function advice(what: string): string {
  return `${what}, which the log of changes does not show: create a TableBackfill with destinationTable Truncate or Drop`
}
