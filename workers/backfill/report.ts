import type { CopyStage } from '../../crds/api.ts'
import type { CopyStatus, UnfitColumn, VerifyStatus } from '../../crds/table-backfill.ts'
import type { MillraceError } from '../../lib/errors.ts'
import { cutMessage } from '../runtime/problems.ts'
import type { StatusWriter } from '../runtime/status.ts'
import { createUnfitCounts } from '../runtime/unfit.ts'
import type { Progress } from './chunks.ts'

/** What a person sees of the copy: `status.copy` of the TableBackfill. */
export interface Report {
  /** A new stage, with what it waits for if it does; what an earlier one waited for is gone. */
  stage(stage: CopyStage, message?: string): void
  /** What the present stage waits for; undefined when it goes on. */
  waiting(message: string | undefined): void
  /** Something is wrong and will be tried again. */
  trouble(error: MillraceError): void
  /** What a person should know, although it goes on; added to what was told before. */
  warn(warnings: readonly string[]): void
  facts(facts: Partial<Omit<CopyStatus, 'stage' | 'message' | 'code' | 'failed' | 'warnings'>>): void
  progress(progress: Progress): void
  /** Values of a column did not fit the destination and were changed. */
  unfit(column: string, values: number): void
  /** What an earlier pod has reported of that. */
  resumeUnfit(reported: readonly UnfitColumn[] | undefined): void
  /** What a comparison has found so far. */
  verified(verify: VerifyStatus): void
  /** The same, as last said, also by a pod before this one (`goOn`). */
  found(): VerifyStatus | undefined
  /** Takes over what a pod before this one has found; does nothing when something was found since. */
  goOn(verify: VerifyStatus | undefined): void
  /** Why the process ends without success. */
  failed(error: MillraceError): void
  /** Resolves when it is all written. */
  flush(signal: AbortSignal): Promise<void>
}

const MOST_WARNINGS = 20
const LONGEST_WARNING = 1_000

export function createReport(writer: StatusWriter, onStage: (stage: CopyStage) => void): Report {
  let copy: CopyStatus = {}
  let verify: VerifyStatus | undefined
  const warned: string[] = []
  const unfit = createUnfitCounts()

  function write(changes: Partial<CopyStatus>, urgent: boolean): void {
    const merged: Record<string, unknown> = { ...copy, ...changes }
    for (const [name, value] of Object.entries(merged)) if (value === undefined) delete merged[name]
    copy = merged as CopyStatus
    writer.set({ copy, ...(verify && { verify }) }, { urgent })
  }
  const cleared = { message: undefined, code: undefined } as unknown as Partial<CopyStatus>

  return {
    stage(stage, message) {
      onStage(stage)
      write({ ...cleared, stage, ...(message === undefined ? {} : { message: cutMessage(message) }) }, true)
    },
    waiting(message) {
      if (copy.message === message && copy.code === undefined) return
      const first = copy.message === undefined
      write({ ...cleared, ...(message === undefined ? {} : { message: cutMessage(message) }) }, first)
    },
    trouble(error) {
      write({ code: error.code, message: cutMessage(error.message) }, true)
    },
    warn(warnings) {
      const unsaid = warnings
        .map((warning) => warning.slice(0, LONGEST_WARNING))
        .filter((warning) => !warned.includes(warning))
      if (unsaid.length === 0) return
      warned.push(...unsaid)
      const more = warned.length - (MOST_WARNINGS - 1)
      const cut = [...warned.slice(0, MOST_WARNINGS - 1), `and ${more} more, see the log of the pod`]
      write({ warnings: more > 1 ? cut : [...warned] }, false)
    },
    facts: (facts) => write(facts, false),
    progress({ chunksDone, chunksTotal, rows, bytes }) {
      write({ chunksDone, chunksTotal, rowsCopied: Number(rows), bytesCopied: Number(bytes) }, false)
    },
    unfit(column, values) {
      unfit.add(column, values)
      write({ unfit: unfit.report() ?? [] }, false)
    },
    resumeUnfit(reported) {
      if (!reported) return
      unfit.resume(reported)
      write({ unfit: unfit.report() ?? [] }, false)
    },
    verified(found) {
      verify = found
      write({}, found.result !== undefined)
    },
    found: () => verify,
    goOn(before) {
      verify ??= before
    },
    failed(error) {
      const { code, retryable } = error
      write({ ...cleared, failed: { code, message: cutMessage(error.message) || code, retryable } }, true)
    },
    flush: (signal) => writer.flush(signal),
  }
}
