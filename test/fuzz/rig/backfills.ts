import { setTimeout as sleep } from 'node:timers/promises'
import { type BackfillPhase, TABLE_BACKFILLS } from '../../../crds/api.ts'
import type { TableBackfillManifestSpec } from '../../../crds/table-backfill.ts'
import { backfillManifest } from '../../../hack/demo/manifests.ts'
import { resourcePath } from '../../../lib/kube/resources.ts'
import type { ComparedTable } from '../compare.ts'
import { type FuzzPipeline, PIPELINE } from './pipeline.ts'
import type { RunningWorker } from './workers.ts'

/** How a backfill ended: `late` means that it neither came to an end nor gave a reason. */
export interface BackfillEnd {
  readonly end: 'drained' | 'stopped' | 'failed' | 'late'
  readonly why: string
  /** Whether the same backfill could pass another time. */
  readonly retryable: boolean
}

export type BackfillWish = Omit<TableBackfillManifestSpec, 'pipelineRef' | 'table'>

/** What the operator would do with TableBackfills: a Job for each, one at a time of a table, tried again when it fails. */
export interface Backfills {
  /** Waits for its turn and for its end, and cancels one that does not drain. */
  bring(table: ComparedTable, wish: BackfillWish, seconds: number): Promise<BackfillEnd>
}

const ATTEMPTS = 3
const POLL_MILLISECONDS = 300
/** What apply shows may be a moment old: a table is stopped when it has said so for so long. */
const STALE_MILLISECONDS = 5_000
/** What apply cannot do for so long, and says so, does not pass by itself. */
const HINDERED_MILLISECONDS = 30_000
/** Until apply has seen a cancel, and lets the table go. */
const CANCEL_MILLISECONDS = 500

export function createBackfills(pipeline: FuzzPipeline): Backfills {
  const { servers, namespace } = pipeline
  const { cluster } = servers
  let number = 0

  async function submit(table: ComparedTable, wish: BackfillWish) {
    number += 1
    const name = `b${number}`
    await cluster.apply(
      backfillManifest(namespace, name, {
        pipelineRef: { name: PIPELINE },
        table: { schema: table.schema, name: table.name },
        ...wish,
      }),
    )
    const uid = (await cluster.backfill(namespace, name))?.metadata.uid ?? ''
    await tell(name, 'Preparing')
    return { name, start: () => pipeline.startBackfill(name, uid) }
  }

  const path = (name: string) => resourcePath({ ...TABLE_BACKFILLS, namespace }, name)
  /** Apply lets a table pass what it is stuck at only for a backfill that is at work. */
  const tell = (name: string, phase: BackfillPhase) =>
    cluster.patch(`${path(name)}/status`, { status: { phase } })
  const cancel = (name: string) => cluster.patch(path(name), { spec: { cancel: true } })

  async function appliedState(table: ComparedTable): Promise<string | undefined> {
    const { apply } = await pipeline.status()
    const found = apply?.tables?.find(({ schema, name }) => schema === table.schema && name === table.name)
    return found?.state === 'Stopped' || found?.state === 'Failed'
      ? `${found.code}: ${found.message}`
      : undefined
  }

  /** Watches one until it has ended; the worker may be replaced by another attempt on the way. */
  async function follow(
    table: ComparedTable,
    name: string,
    start: () => RunningWorker,
    seconds: number,
  ): Promise<BackfillEnd> {
    const deadline = Date.now() + seconds * 1000
    let worker = start()
    let attempt = 1
    let stoppedSince: number | undefined
    let hinderedSince: number | undefined
    try {
      for (;;) {
        const status = (await cluster.backfill(namespace, name))?.status
        if (status?.queue?.state === 'Drained') return { end: 'drained', why: '', retryable: true }
        if (status?.queue?.state === 'Closed')
          return { end: 'failed', why: `closed, ${JSON.stringify(status.queue)}`, retryable: true }
        const failure = worker.failure()
        if (failure) {
          if (attempt >= ATTEMPTS || !failure.retryable)
            return { end: 'failed', why: failure.message, retryable: failure.retryable }
          attempt += 1
          await sleep(1_000)
          worker = start()
        } else if (worker.ended()) {
          const stopped = await appliedState(table)
          if (stopped === undefined) stoppedSince = undefined
          else stoppedSince ??= Date.now()
          if (stopped !== undefined && Date.now() - (stoppedSince ?? 0) > STALE_MILLISECONDS)
            return { end: 'stopped', why: stopped, retryable: true }
        }
        const reason = status?.queue?.code && `${status.queue.code}: ${status.queue.message}`
        if (!reason) hinderedSince = undefined
        else hinderedSince ??= Date.now()
        if (reason && Date.now() - (hinderedSince ?? 0) > HINDERED_MILLISECONDS)
          return { end: 'stopped', why: reason, retryable: true }
        if (Date.now() > deadline) return { end: 'late', why: JSON.stringify(status ?? {}), retryable: true }
        await sleep(POLL_MILLISECONDS)
      }
    } finally {
      await worker.end()
    }
  }

  async function bring(table: ComparedTable, wish: BackfillWish, seconds: number): Promise<BackfillEnd> {
    const { name, start } = await submit(table, wish)
    const ended = await follow(table, name, start, seconds)
    if (ended.end === 'drained') await tell(name, 'Streaming')
    else {
      await cancel(name).catch(() => {})
      await sleep(CANCEL_MILLISECONDS)
    }
    return ended
  }

  const last = new Map<string, Promise<unknown>>()
  return {
    bring(table, wish, seconds) {
      const key = JSON.stringify([table.schema, table.name])
      const turn = (last.get(key) ?? Promise.resolve()).then(() => bring(table, wish, seconds))
      last.set(
        key,
        turn.catch(() => {}),
      )
      return turn
    },
  }
}
