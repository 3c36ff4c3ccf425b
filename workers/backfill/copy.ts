import { createBackoff } from '../../lib/backoff.ts'
import { type MillraceError, toMillraceError } from '../../lib/errors.ts'
import { sleep } from '../../lib/sleep.ts'
import type { Fence, LedgerBackfill, LedgerChunk } from '../destination/ledger.ts'
import type { Connection } from '../source/connect.ts'
import { type ChunkQueue, createChunkQueue, isWhole } from './chunks.ts'
import type { Attempt } from './context.ts'
import { hasOtherColumns, judgeChunk } from './decisions.ts'
import { createReader, type Reader } from './reader.ts'
import type { ScanServer } from './server.ts'

/** How a round of copying ended: all is durable, the server has to prove itself again, or the plan is void. */
export type CopyOutcome = 'complete' | 'reopen' | 'replan'

export interface CopyRound {
  readonly server: ScanServer
  readonly row: LedgerBackfill
  readonly fence: Fence
  /** The plan's snapshot while it lives; undefined: each chunk is read under one of its own. */
  readonly snapshot: { readonly id: string; readonly lost: AbortSignal } | undefined
}

const CHUNKS_GONE =
  'rows of the ledger that say what is copied were deleted, although nobody but Millrace writes there: the copy begins anew'

/**
 * Copies what is left of a plan with N readers (section 4 of the design). Ends only when all of them have: what comes
 * after, with another snapshot or another plan, never overlaps with a chunk of this round.
 */
export async function copyChunks(attempt: Attempt, round: CopyRound): Promise<CopyOutcome> {
  const { destination, uid, settings, report, signal } = attempt
  const found = await destination.ledger.readChunks(uid, round.row.plan, signal)
  if (!checkWhole(attempt, found)) return 'replan'
  const chunks = createChunkQueue(found)
  report.stage('Copying')
  report.progress(chunks.progress())
  const crew = createCrew(attempt, round, chunks)
  await Promise.all(Array.from({ length: settings.parallelism }, () => crew.work()))
  return crew.outcome()
}

/** Whether all chunks of the plan are there; says so if they are not. */
export function checkWhole({ log, report }: Attempt, chunks: readonly LedgerChunk[]): boolean {
  if (isWhole(chunks)) return true
  log.error({ code: 'LedgerChanged', reason: CHUNKS_GONE }, 'Changed by hand')
  report.warn([`LedgerChanged: ${CHUNKS_GONE}`])
  return false
}

/** What the readers of one round share. */
function createCrew(attempt: Attempt, round: CopyRound, chunks: ChunkQueue) {
  const { report, metrics, log } = attempt
  const { server, row, fence, snapshot } = round
  const scan = row.scan === 'Ctid' ? 'Ctid' : 'Key'
  // Ends the waiting of readers, not their work: what they have under way stays valid.
  const over = new AbortController()
  // Ends their work too.
  const broken = new AbortController()
  const signal = AbortSignal.any([attempt.signal, broken.signal])
  const bell = createBell()
  let verdict: 'reopen' | 'replan' | 'stop' | undefined
  let failure: unknown
  let lastSuccess = performance.now()

  function end(how: 'reopen' | 'replan' | 'stop', error?: unknown): void {
    if (verdict === 'stop' || (verdict === 'replan' && how === 'reopen')) return
    verdict = how
    if (how === 'stop') {
      failure = error
      broken.abort(error)
    }
    over.abort()
    bell.ring()
  }

  async function work(): Promise<void> {
    const reader = createReader({ attempt, server, fence, plan: row.plan, signal })
    const backoff = createBackoff(250, 15_000)
    try {
      while (verdict === undefined && !chunks.complete()) {
        if (snapshot?.lost.aborted) {
          end('reopen')
          continue
        }
        const chunk = chunks.take()
        if (chunk === undefined) {
          // A chunk that another reader works on may come back, whole or in parts.
          await bell.wait()
        } else if (await copyOne(reader, chunk)) {
          backoff.reset()
        } else {
          await sleep(backoff.next(), AbortSignal.any([signal, over.signal])).catch(() => {})
        }
      }
    } finally {
      reader.close()
    }
  }

  /** False when the reader should wait a while. */
  async function copyOne(reader: Reader, chunk: LedgerChunk): Promise<boolean> {
    try {
      chunks.done(chunk, await reader.copy(chunk, snapshot?.id ?? ''))
    } catch (error) {
      await handle(reader, chunk, error)
      return false
    }
    lastSuccess = performance.now()
    attempt.progressed()
    report.waiting(undefined)
    report.progress(chunks.progress())
    if (chunks.complete()) bell.ring()
    return true
  }

  async function handle(reader: Reader, chunk: LedgerChunk, thrown: unknown): Promise<void> {
    if (signal.aborted) return end('stop', signal.reason)
    const error = toMillraceError(thrown)
    const judged = (await isOutdated(error))
      ? 'reopen'
      : judgeChunk(error, scan, performance.now() - lastSuccess)
    metrics.chunkFailed(error.code)
    log.warn(
      { chunk: chunk.chunk, code: error.code, reason: error.message, verdict: judged },
      'A chunk failed',
    )
    if (judged === 'stop') return end('stop', error)
    report.trouble(error)
    if (judged !== 'split' || !(await split(reader, chunk))) chunks.putBack(chunk)
    bell.ring()
    if (judged === 'reopen' || judged === 'replan') end(judged)
  }

  /**
   * Whether a value was rejected because the source's table has other columns or types by now than this round began with: the
   * next one reads them, and makes the destination's fit. Where they cannot be read just now, that round finds out.
   */
  async function isOutdated({ code }: MillraceError): Promise<boolean> {
    if (code !== 'ValueRejected') return false
    let connection: Connection | undefined
    try {
      connection = await server.connect(signal)
      return hasOtherColumns(attempt.definition, await attempt.readDefinition(connection))
    } catch (error) {
      log.warn({ reason: toMillraceError(error).message }, 'The definition of the table could not be read')
      return true
    } finally {
      await connection?.close()
    }
  }

  /** Records the parts before either is read (rule R7); false when the chunk stays whole. */
  async function split(reader: Reader, chunk: LedgerChunk): Promise<boolean> {
    try {
      const ranges = await reader.halve(chunk)
      if (ranges === undefined) return false
      const { ledger } = attempt.destination
      chunks.replace(chunk, await ledger.splitChunk(fence, row.plan, chunk.chunk, ranges, signal))
      return true
    } catch (error) {
      log.warn({ chunk: chunk.chunk, reason: toMillraceError(error).message }, 'A chunk could not be split')
      return false
    }
  }

  return {
    work,
    outcome(): CopyOutcome {
      attempt.signal.throwIfAborted()
      if (verdict === 'stop') throw failure
      return verdict ?? 'complete'
    },
  }
}

/** Wakes all who wait at once. */
function createBell() {
  let waiting: (() => void)[] = []
  return {
    wait: () => new Promise<void>((resolve) => waiting.push(resolve)),
    ring() {
      const woken = waiting
      waiting = []
      for (const wake of woken) wake()
    },
  }
}
