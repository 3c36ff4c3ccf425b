import type { KubeObject } from '../../lib/kube/api.ts'
import { rejectionOf } from '../../lib/kube/rejection.ts'
import type { Logger } from '../../lib/log.ts'
import { sleep } from '../../lib/sleep.ts'
import type { OperatorApi } from '../kube/api.ts'
import { LEASES, within } from '../kube/resources.ts'

interface Lease extends KubeObject {
  readonly spec?: {
    readonly holderIdentity?: string
    readonly leaseDurationSeconds?: number
    readonly acquireTime?: string
    readonly renewTime?: string
    readonly leaseTransitions?: number
  }
}

export interface LeaderOptions {
  /** A client of its own, so that a busy operator does not lose its lease for want of a connection. */
  readonly kube: OperatorApi
  readonly namespace: string
  readonly name: string
  /** Different for each process. */
  readonly identity: string
  readonly log: Logger
  readonly timing?: LeaderTiming
}

/** Milliseconds. */
export interface LeaderTiming {
  /** Others may take over when it was not renewed for so long. */
  readonly lease: number
  /** The holder gives up when it could not renew for so long. */
  readonly renew: number
  /** Between two attempts. */
  readonly retry: number
}

const TIMING: LeaderTiming = { lease: 15_000, renew: 10_000, retry: 2_000 }

/** Raised at the work of a leader that is not the leader any more. */
export class LeadershipLost extends Error {
  constructor() {
    super('the lease could not be renewed in time')
    this.name = 'LeadershipLost'
  }
}

/**
 * Waits for the Lease, then calls `lead` with a signal that aborts as soon as the lease may be somebody else's. When `lead`
 * has ended, the lease is given back, so that a successor need not wait for it to run out.
 *
 * Throws LeadershipLost when it was lost; the process should end then, because a request may still be under way.
 */
export async function runWhenLeading(
  options: LeaderOptions,
  signal: AbortSignal,
  lead: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const timing = options.timing ?? TIMING
  const election = createElection(options, timing)
  while (!(await attempt())) await sleep(jittered(timing.retry), signal)
  options.log.info({ lease: options.name, identity: options.identity }, 'Leading')

  const lost = new AbortController()
  const ended = new AbortController()
  const leading = lead(AbortSignal.any([signal, lost.signal])).finally(() => ended.abort())
  const renewing = renew(ended.signal)
  try {
    await leading
  } finally {
    await renewing
    if (!lost.signal.aborted) await election.release().catch(() => {})
  }
  if (lost.signal.aborted) throw lost.signal.reason

  async function attempt(): Promise<boolean> {
    try {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(timing.renew)])
      return await election.acquire(limit)
    } catch (error) {
      signal.throwIfAborted()
      options.log.warn({ error: error instanceof Error ? error.message : String(error) }, 'No lease yet')
      return false
    }
  }

  async function renew(until: AbortSignal): Promise<void> {
    let renewed = performance.now()
    while (!until.aborted) {
      await sleep(timing.retry, until).catch(() => {})
      if (until.aborted) return
      const left = timing.renew - (performance.now() - renewed)
      try {
        if (left <= 0) throw new Error('timed out')
        const limit = AbortSignal.any([until, AbortSignal.timeout(Math.ceil(left))])
        if (!(await election.acquire(limit))) {
          lost.abort(new LeadershipLost())
          return
        }
        renewed = performance.now()
      } catch (error) {
        if (until.aborted) return
        options.log.warn(
          { error: error instanceof Error ? error.message : String(error) },
          'Lease not renewed',
        )
        if (performance.now() - renewed < timing.renew) continue
        lost.abort(new LeadershipLost())
        return
      }
    }
  }
}

function createElection({ kube, namespace, name, identity }: LeaderOptions, timing: LeaderTiming) {
  const leases = within(LEASES, namespace)
  const never = new AbortController().signal
  /** The lease as it last changed, and when that was seen: other machines' clocks are not trusted. */
  let seen: { version: string | undefined; at: number } | undefined

  return {
    /** Takes or renews the lease; false when somebody else has it. */
    async acquire(signal: AbortSignal): Promise<boolean> {
      const lease = await kube.get<Lease>(leases, name, signal)
      const now = new Date()
      const claim = {
        holderIdentity: identity,
        leaseDurationSeconds: Math.ceil(timing.lease / 1000),
        renewTime: microTime(now),
      }
      try {
        if (!lease) {
          const spec = { ...claim, acquireTime: microTime(now), leaseTransitions: 0 }
          await kube.create(leases, { ...identityOf(name), metadata: { name }, spec }, signal)
          return true
        }
        const version = lease.metadata.resourceVersion
        if (seen === undefined || seen.version !== version) seen = { version, at: performance.now() }
        const since = seen.at
        const holder = lease.spec?.holderIdentity ?? ''
        const duration = (lease.spec?.leaseDurationSeconds ?? timing.lease / 1000) * 1000
        if (holder !== '' && holder !== identity && performance.now() - since < duration) return false
        const spec =
          holder === identity
            ? { ...lease.spec, ...claim }
            : {
                ...claim,
                acquireTime: microTime(now),
                leaseTransitions: (lease.spec?.leaseTransitions ?? 0) + 1,
              }
        await kube.update(leases, name, { ...identityOf(name), metadata: lease.metadata, spec }, signal)
        return true
      } catch (error) {
        if (rejectionOf(error)?.status === 409) return false
        throw error
      }
    },
    async release(): Promise<void> {
      const signal = AbortSignal.any([never, AbortSignal.timeout(5_000)])
      const lease = await kube.get<Lease>(leases, name, signal)
      if (lease?.spec?.holderIdentity !== identity) return
      const spec = {
        ...lease.spec,
        holderIdentity: '',
        leaseDurationSeconds: 1,
        renewTime: microTime(new Date()),
      }
      await kube.update(leases, name, { ...identityOf(name), metadata: lease.metadata, spec }, signal)
    },
  }
}

function identityOf(name: string) {
  return { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name } }
}

/** The API server takes MicroTime with six digits only. */
export function microTime(at: Date): string {
  return at.toISOString().replace('Z', '000Z')
}

function jittered(milliseconds: number): number {
  return milliseconds * (1 + 0.2 * Math.random())
}
