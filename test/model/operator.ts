import type { Pipeline } from '../../crds/pipeline.ts'
import type { TableBackfill, TableBackfillSpec } from '../../crds/table-backfill.ts'
import { candidateOf } from '../../operator/backfill/candidates.ts'
import { pipelineFacts } from '../../operator/backfill/collect.ts'
import { isTerminal, type JobFacts } from '../../operator/backfill/facts.ts'
import { derivePhase } from '../../operator/backfill/phase.ts'
import { schedule } from '../../operator/backfill/schedule.ts'
import { ownStatus } from '../../operator/backfill/status.ts'
import { tableKey } from '../../operator/context.ts'
import { ownerReference } from '../../operator/kube/desired.ts'
import { GAP, INITIAL } from '../../operator/labels.ts'
import { planBackfills } from '../../operator/pipeline/plan-backfills.ts'
import { deleteBackfill, putBackfill, putPipeline } from './kube.ts'
import type { Process } from './process.ts'
import { world } from './world.ts'

/** A Job and the pod that it has at present. */
export interface Job {
  readonly backfill: TableBackfill
  suspended: boolean
  deleting: boolean
  complete: boolean
  failed: JobFacts['failed']
  failures: number
  pod: Process | undefined
}

/** Exit code by which podFailurePolicy fails a Job at once. */
const WRONG_INPUT = 2

function factsOf(job: Job): JobFacts {
  return {
    suspended: job.suspended,
    deleting: job.deleting,
    active: job.pod !== undefined || (!job.complete && !job.failed && !job.suspended),
    complete: job.complete,
    failed: job.failed,
    failures: job.failures,
    cleanedUpAfter: undefined,
    outdated: false,
  }
}

/** What the Job controller does: pods end, are started again, and Jobs come to their ends. */
export function controlJobs(): string | undefined {
  for (const [uid, job] of world().jobs) {
    const { pod } = job
    if (pod && pod.exit !== undefined) {
      job.pod = undefined
      if (pod.exit === 0) job.complete = true
      else if (pod.exit === WRONG_INPUT) job.failed = { reason: 'PodFailurePolicy', message: 'wrong input' }
      else {
        job.failures += 1
        if (job.failures > job.backfill.spec.backoffLimit) {
          job.failed = { reason: 'BackoffLimitExceeded', message: 'too many failures' }
        }
      }
      return `pod of ${job.backfill.metadata.name} ended with ${pod.exit}`
    }
    if (job.deleting && !pod) {
      world().jobs.delete(uid)
      return `job of ${job.backfill.metadata.name} is gone`
    }
    const wanted = !job.deleting && !job.suspended && !job.complete && !job.failed
    if (wanted && !pod) {
      job.pod = world().startBackfill(job.backfill)
      return `pod of ${job.backfill.metadata.name} starts`
    }
    if (!wanted && pod && !pod.stop.signal.aborted && !job.complete) {
      pod.stop.abort(new Error('SIGTERM'))
      return `pod of ${job.backfill.metadata.name} is asked to end`
    }
  }
  return undefined
}

export function makeBackfill(
  name: string,
  spec: Pick<TableBackfillSpec, 'destinationTable' | 'backfill'>,
  label?: string,
): TableBackfill {
  world().made += 1
  const { pipeline } = world().cluster
  return {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'TableBackfill',
    metadata: {
      name,
      namespace: 'ns',
      uid: `${name}-${world().made}`,
      generation: 1,
      creationTimestamp: new Date().toISOString(),
      ...(label && {
        labels: { [label]: 'true' },
        ownerReferences: [ownerReference(pipeline)],
      }),
    },
    spec: {
      pipelineRef: { name: 'p' },
      table: { schema: 'public', name: 't' },
      backoffLimit: 1000,
      suspend: false,
      cancel: false,
      ...spec,
    },
  } as TableBackfill
}

/** One look of the operator at everything, with its own decisions. Returns what it did. */
export function operate(): string | undefined {
  const { cluster, jobs, clock } = world()
  const { pipeline } = cluster
  const backfills = [...cluster.backfills.values()]
  const now = Date.now()
  const listed = new Set(pipeline.spec.tables.map(tableKey))
  const left = new Set([...world().listedBefore].filter((table) => !listed.has(table)))
  world().listedBefore = listed
  const plan = planBackfills({ pipeline, backfills, left, reportedFor: () => clock.now() + 60_000, now })
  const done: string[] = []
  for (const { metadata } of plan.remove) {
    deleteBackfill(metadata.name)
    done.push(`removes ${metadata.name}`)
  }
  for (const planned of plan.create) {
    const label = planned.kind === 'gap' ? GAP : INITIAL
    putBackfill(
      makeBackfill(planned.name, { destinationTable: planned.action, backfill: world().scanOf() }, label),
    )
    done.push(`creates ${planned.name}: ${planned.action}`)
  }
  recordInitial(pipeline, plan.initial)
  const facts = (backfill: TableBackfill) => {
    const job = jobs.get(backfill.metadata.uid)
    return job && factsOf(job)
  }
  const present = [...cluster.backfills.values()]
  for (const [uid, job] of jobs) {
    if (!present.some(({ metadata }) => metadata.uid === uid)) job.deleting = true
  }
  const line = schedule({
    limit: pipeline.spec.backfill.maxConcurrentTables,
    open: pipeline.spec.state === 'Running',
    tables: pipeline.spec.tables.map(tableKey),
    candidates: present.map((backfill) => candidateOf(backfill, pipeline, facts(backfill))),
  })
  for (const uid of line.start) {
    const backfill = present.find(({ metadata }) => metadata.uid === uid) as TableBackfill
    const job = jobs.get(uid)
    if (job) job.suspended = false
    else {
      jobs.set(uid, {
        backfill,
        suspended: false,
        deleting: false,
        complete: false,
        failed: undefined,
        failures: 0,
        pod: undefined,
      })
    }
    done.push(`starts the job of ${backfill.metadata.name}`)
  }
  for (const backfill of present) {
    if (isTerminal(backfill.status?.phase)) continue
    const { uid, name } = backfill.metadata
    const all = {
      backfill,
      pipeline: pipelineFacts(pipeline, backfill),
      job: facts(backfill),
      place: line.waiting.get(uid),
      podProblem: undefined,
      podFailed: false,
    }
    const outcome = derivePhase(all)
    if (!outcome) continue
    const job = jobs.get(uid)
    if (job && outcome.job === 'delete') job.deleting = true
    if (job && outcome.job === 'suspend') job.suspended = true
    const { copy, queue } = backfill.status ?? {}
    const status = { ...ownStatus(all, outcome, new Date()), ...(copy && { copy }), ...(queue && { queue }) }
    if (outcome.phase === backfill.status?.phase && outcome.message === backfill.status?.message) continue
    putBackfill({ ...backfill, status } as TableBackfill)
    if (outcome.phase !== backfill.status?.phase) done.push(`${name} is ${outcome.phase}: ${outcome.message}`)
  }
  return done.length > 0 ? done.join('; ') : undefined
}

function recordInitial(pipeline: Pipeline, initial: ReadonlyMap<string, string>): void {
  const name = initial.get(tableKey({ schema: 'public', name: 't' }))
  const before = pipeline.status?.tables?.[0]?.initialBackfill
  if (name === before) return
  putPipeline(
    (old) =>
      ({
        ...old,
        status: {
          ...old.status,
          tables:
            name === undefined
              ? []
              : [{ schema: 'public', name: 't', state: 'Streaming', initialBackfill: name }],
        } as Pipeline['status'],
      }) as Pipeline,
  )
}
