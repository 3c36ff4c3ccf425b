import { MillraceError } from '../../../lib/errors.ts'
import { tableLabel } from '../../source/table.ts'
import type { ChunkRequest } from '../destination.ts'
import type { LedgerBackfill } from '../ledger.ts'
import type { RedshiftContext } from './context.ts'
import { workName, writingFor } from './ensure-table.ts'
import { StatementFailure } from './failures.ts'
import { createSliceCount, fitSlices } from './fit-slices.ts'
import type { KnownChunk } from './ledger-known.ts'
import { backfillContent, backfillId, chunkContent, chunkId, toBackfill } from './ledger-rows.ts'
import { GuardFailed, type Work } from './ledger-store.ts'
import { literal } from './literals.ts'
import { writeFailure } from './load-failure.ts'
import { assertFence, conflict } from './transitions.ts'
import {
  CHUNK_STAGE,
  type CopySource,
  copyStageSQL,
  copyTargetSQL,
  countCopiedSQL,
  createStageSQL,
  deleteSQL,
  insertSQL,
  keepSQL,
  type Writing,
} from './write-sql.ts'

/** A chunk whose files are in the bucket. */
export interface StagedChunk {
  readonly request: ChunkRequest
  readonly keys: readonly string[]
  readonly rows: bigint
  readonly bytes: bigint
}

export type ChunkMode = 'append' | 'upsert'

/** Chunks that are waiting for a commit, by backfill. */
export interface ChunkGroups {
  /** Resolves when the chunk is durable; false: it was so before. */
  commit(chunk: StagedChunk, signal: AbortSignal): Promise<boolean>
}

interface Waiting {
  readonly chunk: StagedChunk
  readonly signal: AbortSignal
  resolve(written: boolean): void
  reject(error: unknown): void
}

const ATTEMPTS = 20
/** Chunks that one COPY takes; a manifest of more is no faster. */
const MOST_CHUNKS = 200

/**
 * Commits chunks of one backfill together: Redshift loads a table with one COPY at a time, which reads many files at once. What
 * comes while one is at work waits for the next.
 */
export function createChunkGroups(context: RedshiftContext): ChunkGroups {
  const queues = new Map<string, Waiting[]>()
  const countSlices = createSliceCount(context.store, context.log)
  let slices: number | undefined

  async function work(uid: string, queue: Waiting[]): Promise<void> {
    while (queue.length > 0) {
      const group = takeGroup(queue, slices)
      const all = allAborted(group.map(({ signal }) => signal))
      try {
        await commitGroup(context, group, all.signal)
        // After the first commit, which shows that the warehouse answers.
        slices = await countSlices(all.signal)
      } catch (error) {
        for (const each of group) each.reject(error)
      } finally {
        all.release()
      }
    }
    queues.delete(uid)
  }

  return {
    async commit(chunk, signal) {
      signal.throwIfAborted()
      const { promise, resolve, reject } = Promise.withResolvers<boolean>()
      const onAbort = () => reject(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      const { uid } = chunk.request.fence
      const waiting: Waiting = { chunk, signal, resolve, reject }
      const queue = queues.get(uid)
      if (queue) queue.push(waiting)
      else {
        const begun = [waiting]
        queues.set(uid, begun)
        void work(uid, begun)
      }
      try {
        return await promise
      } finally {
        signal.removeEventListener('abort', onAbort)
      }
    },
  }
}

/**
 * Those that can go together: of one plan into one table, and never two in which the same row may be; as many as fit the slices.
 */
function takeGroup(queue: Waiting[], slices: number | undefined): Waiting[] {
  const first = queue[0] as Waiting
  // A row that moves between blocks can be in two block ranges that are read under two snapshots.
  const isApart = ({ request }: StagedChunk) => request.range.kind !== 'key' && request.snapshot === ''
  const ready = isApart(first.chunk)
    ? [first]
    : queue.filter(({ chunk }) => isAlike(chunk.request, first.chunk.request) && !isApart(chunk))
  const possible = ready.slice(0, MOST_CHUNKS)
  const files = possible.map(({ chunk }) => chunk.keys.length)
  const group = possible.slice(0, fitSlices(files, slices))
  for (const each of group) queue.splice(queue.indexOf(each), 1)
  return group
}

const isAlike = (a: ChunkRequest, b: ChunkRequest) =>
  a.definition === b.definition &&
  a.plan === b.plan &&
  a.snapshot === b.snapshot &&
  a.fence.attempt === b.fence.attempt

async function commitGroup(
  context: RedshiftContext,
  group: readonly Waiting[],
  signal: AbortSignal,
): Promise<void> {
  const { store, known } = context
  const [first] = group
  if (!first) return
  const { request } = first.chunk
  const { fence, plan } = request
  const ledger = known.ledgerOf(fence.uid)
  if (ledger === undefined) throw new MillraceError('Internal', `backfill ${fence.uid} is not known here`)
  const name = workName(
    store.pipeline,
    fence.uid,
    fence.attempt,
    plan,
    ...group.map(({ chunk }) => chunk.request.chunk),
    context.now(),
  )
  const writing = await writingFor(context, request, signal)
  for (let attempt = 1; ; attempt += 1) {
    if (attempt > 1 || !known.backfill(fence.uid)) await refresh(context, ledger, group, signal)
    const backfill = known.backfill(fence.uid)
    const ready = group.filter((each) => admit(context, backfill, each))
    if (ready.length === 0 || !backfill) return
    const mode = chunkMode(backfill, request)
    const keys = ready.flatMap(({ chunk }) => chunk.keys)
    const loaded =
      keys.length > 0 ? await context.files.manifest(keys, `backfill/${name}-${attempt}`, signal) : undefined
    const rows = ready.reduce((sum, { chunk }) => sum + chunk.rows, 0n)
    const bytes = ready.reduce((sum, { chunk }) => sum + chunk.bytes, 0n)
    const next: LedgerBackfill = { ...backfill, rows: backfill.rows + rows, bytes: backfill.bytes + bytes }
    const chunks = ready.map(({ chunk }) => doneChunk(context, chunk))
    try {
      await store.commit(
        {
          ledger,
          name: `millrace backfill ${tableLabel(request.target)}`,
          expect: [
            { id: backfillId(fence.uid), version: backfill.version },
            ...chunks.map(({ content, from }) => ({ id: content.id, version: from })),
          ],
          work: loaded ? loadWork(writing, mode, loaded.source, rows) : [],
          writes: [{ content: backfillContent(next, context.now()), from: backfill.version }, ...chunks],
        },
        signal,
        (failure) => failure,
      )
    } catch (error) {
      if (loaded && (error instanceof GuardFailed || error instanceof StatementFailure)) {
        context.files.discard(loaded.keys.slice(keys.length))
      }
      if (error instanceof GuardFailed && error.guard === undefined && attempt < ATTEMPTS) continue
      if (error instanceof GuardFailed) throw countDiffers(request, error)
      if (error instanceof StatementFailure)
        throw await writeFailure(context, error, request.target, writing, signal)
      throw error
    }
    known.remember(ledger, { ...next, version: backfill.version + 1n })
    known.rememberChunks(
      fence.uid,
      plan,
      chunks.map(({ content, from }) => ({
        id: content.id,
        state: content.state,
        version: (from ?? 0n) + 1n,
        facts: JSON.stringify(content.facts),
      })),
      false,
    )
    context.files.discard(loaded?.keys ?? [])
    for (const each of ready) each.resolve(true)
    return
  }
}

/** Reads the backfill and the group's chunks anew. */
async function refresh(
  { store, known }: RedshiftContext,
  ledger: string,
  group: readonly Waiting[],
  signal: AbortSignal,
): Promise<void> {
  const { fence, plan } = (group[0] as Waiting).chunk.request
  const ids = [
    backfillId(fence.uid),
    ...group.map(({ chunk }) => chunkId(fence.uid, plan, chunk.request.chunk)),
  ]
  const rows = await store.read(ledger, `id IN (${ids.map(literal).join(', ')})`, signal)
  const backfill = rows.find(({ id }) => id === backfillId(fence.uid))
  known.forget(fence.uid)
  if (backfill) known.remember(ledger, toBackfill(backfill))
  known.rememberChunks(
    fence.uid,
    plan,
    rows.filter((row) => row !== backfill),
    false,
  )
}

/** Whether a chunk is still to be committed; one that is not gets its answer. */
function admit({ known }: RedshiftContext, backfill: LedgerBackfill | undefined, waiting: Waiting): boolean {
  const { request } = waiting.chunk
  try {
    const state = judgeChunk(backfill, known.chunk(request.fence.uid, request.plan, request.chunk), request)
    if (state === 'done') waiting.resolve(false)
    return state !== 'done'
  } catch (error) {
    waiting.reject(error)
    return false
  }
}

/**
 * Whether a chunk may be written and how; `done` when it is durable already. Throws `Fenced`, `LedgerConflict` and
 * `SnapshotLost` as the port says.
 */
export function judgeChunk(
  backfill: LedgerBackfill | undefined,
  chunk: KnownChunk | undefined,
  request: Pick<ChunkRequest, 'fence' | 'plan' | 'chunk' | 'definition' | 'snapshot'>,
): ChunkMode | 'done' {
  assertFence(backfill, request.fence)
  if (backfill.plan !== request.plan) throw stale(request, `plan ${backfill.plan} has replaced it`)
  const state = chunk?.value.state
  if (state === 'done') return 'done'
  if (state !== 'planned') throw stale(request, state === 'split' ? 'it was split' : 'it was never planned')
  if (!backfill.actionDone) throw stale(request, 'the destination action has not run yet')
  const mode = chunkMode(backfill, request)
  if (mode === 'append' || request.definition.key.length > 0) return mode
  throw new MillraceError(
    'SnapshotLost',
    `table ${tableLabel(request.definition)} has no key, so that rows of another snapshot cannot be put upon those that are there: it must be emptied and copied as a whole`,
  )
}

/** Rows of two snapshots in one table could be two versions of one row. */
function chunkMode(backfill: LedgerBackfill, { snapshot }: Pick<ChunkRequest, 'snapshot'>): ChunkMode {
  return backfill.append && backfill.snapshot === snapshot ? 'append' : 'upsert'
}

function doneChunk({ known }: RedshiftContext, { request, rows, bytes }: StagedChunk) {
  const { fence, plan, chunk } = request
  const found = known.chunk(fence.uid, plan, chunk) as KnownChunk
  const value = { ...found.value, state: 'done', attempt: fence.attempt, rows, bytes } as const
  return { content: chunkContent(fence.uid, plan, value, found.parent), from: found.version }
}

/**
 * Append loads straight into the table; that is sound because a transaction that fails takes COPY's rows back. Otherwise the rows
 * are staged, and replace those of the same key.
 */
function loadWork(writing: Writing, mode: ChunkMode, source: CopySource, rows: bigint): Work[] {
  const count: Work = { sql: countCopiedSQL(rows), guard: 'the number of rows' }
  // A table with soft deletes has a column that the files do not: its default says that the row lives.
  if (mode === 'append') return [{ sql: copyTargetSQL(writing, source) }, count]
  return [
    { sql: createStageSQL(writing, CHUNK_STAGE) },
    { sql: copyStageSQL(writing, CHUNK_STAGE, source) },
    count,
    ...[
      ...keepSQL(writing, CHUNK_STAGE),
      deleteSQL(writing, CHUNK_STAGE),
      ...insertSQL(writing, CHUNK_STAGE),
    ].map((sql) => ({ sql })),
  ]
}

/** Aborts when all of the signals have: as long as one waits, the work goes on. `release` lets go of them. */
function allAborted(signals: readonly AbortSignal[]): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController()
  const waiting = new Set(signals.keys())
  const undo = signals.map((signal, index) => {
    const onAbort = () => {
      waiting.delete(index)
      if (waiting.size === 0) controller.abort(signal.reason)
    }
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    return () => signal.removeEventListener('abort', onAbort)
  })
  return {
    signal: controller.signal,
    release() {
      for (const each of undo) each()
    },
  }
}

function countDiffers({ target }: Pick<ChunkRequest, 'target'>, error: GuardFailed): MillraceError {
  if (error.guard === undefined)
    return conflict(`the ledger of ${tableLabel(target)} changes faster than chunks are written`)
  return new MillraceError(
    'DestinationUnavailable',
    `destination table ${tableLabel(target)}: COPY has not loaded what was sent (${error.guard}); nothing was written`,
  )
}

function stale(
  { plan, chunk, definition }: Pick<ChunkRequest, 'plan' | 'chunk' | 'definition'>,
  why: string,
): MillraceError {
  return conflict(
    `chunk ${chunk} of plan ${plan} of table ${tableLabel(definition)} cannot be written: ${why}`,
  )
}
