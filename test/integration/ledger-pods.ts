import { afterAll, beforeAll } from 'vitest'
import type { Destination } from '../../workers/destination/destination.ts'
import type { Fence, LedgerTable } from '../../workers/destination/ledger.ts'
import type { TableDefinition } from '../../workers/source/table.ts'
import { chunkOf, define, never } from './destination-postgres-fixture.ts'

/** A destination that the contract of ledgers is tried on. */
export interface LedgerBed {
  /** A destination, as a worker of the given pipeline would open it. */
  open(pipelineUid?: string): Destination
  rows(sql: string): Promise<unknown[][]>
  run(sql: string): Promise<unknown>
  /** A row as the bytes of a chunk have it. */
  line(...values: string[]): string
  close?(): Promise<unknown>
}

/** Two pods of one pipeline, and a pod of another. */
export interface LedgerPods extends Pick<LedgerBed, 'rows' | 'run' | 'line'> {
  readonly one: Destination
  readonly two: Destination
  readonly other: Destination
}

/** Opens the pods before the tests of a file, on an opened ledger, and closes them afterwards. */
export function usePods(openBed: () => Promise<LedgerBed>): LedgerPods {
  const pods = {} as { -readonly [Name in keyof LedgerPods]: LedgerPods[Name] }
  let bed: LedgerBed | undefined
  beforeAll(async () => {
    bed = await openBed()
    const { rows, run, line } = bed
    Object.assign(pods, { rows, run, line, one: bed.open(), two: bed.open(), other: bed.open('pipeline-2') })
    await pods.one.ledger.open(never)
  })
  afterAll(async () => {
    await Promise.all([pods.one, pods.two, pods.other].map((destination) => destination?.close()))
    await bed?.close?.()
  })
  return pods
}

export const simple = (name: string) => define(name, ['id integer', 'v text'], ['id'])

export const closed = (uid: string, name: string) => ({
  uid,
  name: `backfill-${uid}`,
  table: { schema: 'public', name },
  action: 'Truncate' as const,
  code: 'Cancelled',
  message: 'spec.cancel is true',
})

export async function current(pods: LedgerPods, name: string): Promise<LedgerTable> {
  const row = await pods.one.ledger.readTable({ schema: 'public', name }, never)
  if (!row) throw new Error(`no row of ${name}`)
  return row
}

/** Makes chunks durable, all of them empty. */
export async function copyChunks(
  pods: LedgerPods,
  fence: Fence,
  definition: TableDefinition,
  chunks: readonly number[],
): Promise<void> {
  for (const chunk of chunks) await pods.one.writeChunk(chunkOf(fence, definition, [], { chunk }), never)
}
