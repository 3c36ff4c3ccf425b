import type { RedshiftDestination } from '../../../crds/redshift.ts'
import type { Logger } from '../../../lib/log.ts'
import type { ObjectCalls } from './aws.ts'
import type { Files } from './context.ts'
import { refusal } from './failures.ts'

/** Files of transactions that nobody waits for any more are removed when they are this old: the longest statement, twice. */
const SWEEP_AGE_MILLISECONDS = 48 * 60 * 60 * 1000
const SWEEP_EVERY_MILLISECONDS = 24 * 60 * 60 * 1000
const DISCARD_MILLISECONDS = 60_000

export interface FilesOptions {
  readonly destination: Pick<RedshiftDestination, 's3' | 'iamRoleArn'>
  readonly pipeline: string
  open(): Promise<ObjectCalls>
  readonly log: Logger
  readonly now: () => number
}

export interface OwnFiles extends Files {
  /** Waits for what is being removed. */
  close(): Promise<void>
}

export function createFiles({ destination, pipeline, open, log, now }: FilesOptions): OwnFiles {
  const { bucket, prefix: root, region } = destination.s3
  const prefix = `${root}${pipeline}/`
  const removing = new Set<Promise<void>>()
  let opened: Promise<ObjectCalls> | undefined
  let swept = Number.NEGATIVE_INFINITY

  // Calls that fail say so in the words of the spec.
  const named = (calls: ObjectCalls): ObjectCalls => ({
    ...calls,
    put: (key, body, signal) =>
      calls.put(key, body, signal).catch((error) => {
        throw signal.aborted ? signal.reason : refusal(error, 'S3')
      }),
  })

  function objects(): Promise<ObjectCalls> {
    opened ??= open().then(named, (error) => {
      opened = undefined
      throw error
    })
    return opened
  }

  function background(what: string, work: (calls: ObjectCalls, signal: AbortSignal) => Promise<void>): void {
    const signal = AbortSignal.timeout(DISCARD_MILLISECONDS)
    const done: Promise<void> = objects()
      .then((calls) => work(calls, signal))
      .catch((error: unknown) => log.warn({ err: error }, what))
      .finally(() => removing.delete(done))
    removing.add(done)
  }

  /** What a crash, or an answer that never came, has left behind. Runs only where there is work anyway. */
  function sweep(): void {
    if (now() - swept < SWEEP_EVERY_MILLISECONDS) return
    swept = now()
    background('Old files in the bucket could not be removed', async (calls, signal) => {
      let old: string[] = []
      let removed = 0
      const remove = async () => {
        await calls.remove(old, signal)
        removed += old.length
        old = []
      }
      for await (const key of calls.olderThan(prefix, now() - SWEEP_AGE_MILLISECONDS, signal)) {
        old.push(key)
        if (old.length === 1000) await remove()
      }
      if (old.length > 0) await remove()
      if (removed > 0) log.info({ removed }, 'Removed files that were left in the bucket')
    })
  }

  return {
    objects,
    prefix,
    async manifest(keys, name, signal) {
      const key = `${prefix}${name}.manifest`
      // Mandatory: COPY passes over a file that is not there, unless it is told not to.
      const entries = keys.map((each) => ({ url: `s3://${bucket}/${each}`, mandatory: true }))
      const calls = await objects()
      await calls.put(key, Buffer.from(JSON.stringify({ entries })), signal)
      sweep()
      const source = { manifest: `s3://${bucket}/${key}`, iamRoleArn: destination.iamRoleArn, region }
      return { source, keys: [...keys, key] }
    },
    discard(keys) {
      if (keys.length === 0) return
      background('Files in the bucket could not be removed', (calls, signal) => calls.remove(keys, signal))
    },
    async close() {
      while (removing.size > 0) await Promise.allSettled(removing)
      const calls = await opened?.catch(() => undefined)
      opened = undefined
      calls?.close()
    },
  }
}
