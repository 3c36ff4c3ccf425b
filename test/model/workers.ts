import { Registry } from 'prom-client'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { MillraceError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { runApply } from '../../workers/apply/run.ts'
import { runBackfill } from '../../workers/backfill/run.ts'
import { runCapture } from '../../workers/capture/run.ts'
import type { WorkerContext } from '../../workers/runtime/context.ts'
import { exitCode } from '../../workers/runtime/exit.ts'
import { kubeFor } from './kube.ts'
import { createProcess, type Process, runAs } from './process.ts'
import { world } from './world.ts'

// The processes are the real ones, from their entry function on.

export function startCapture(): Process {
  return start(createProcess(`capture-${++world().made}`, 'capture'), runCapture)
}

export function startApply(): Process {
  return start(createProcess(`apply-${++world().made}`, 'apply'), runApply)
}

export function startBackfill({ metadata }: TableBackfill): Process {
  const process = createProcess(`${metadata.name}-${++world().made}`, 'backfill', metadata.uid)
  return start(process, runBackfill, { backfill: metadata.name, backfillUid: metadata.uid })
}

function start(
  process: Process,
  main: (context: WorkerContext) => Promise<void>,
  own: { backfill?: string; backfillUid?: string } = {},
): Process {
  const at = world()
  const context: WorkerContext = {
    env: {
      namespace: 'ns',
      pipeline: 'p',
      pipelineUid: 'P',
      backfill: own.backfill,
      backfillUid: own.backfillUid,
      secretsDir: '',
      port: 0,
      logLevel: 'info',
      shutdownSeconds: 25,
    },
    log: loggerOf(process),
    kube: kubeFor(process),
    metrics: new Registry(),
    stop: process.stop.signal,
    secrets: { read: async () => 'x' },
    health: { addLivenessCheck: () => {}, setReady: () => {} },
  }
  const ended = (code: number, error?: unknown) => {
    if (process.dead || at !== world()) return
    process.exit = code
    process.dead = true
    at.log.push(`      ${process.name} ended with ${code}${error ? `: ${(error as Error).message}` : ''}`)
    for (const each of process.onDeath) each()
    if (error && !(error instanceof MillraceError) && !process.stop.signal.aborted) {
      at.check.broken ??= `${process.name} threw ${(error as Error).stack}`
    }
  }
  runAs(process, () => main(context)).then(
    () => ended(0),
    (error) => ended(exitCode(error, process.stop.signal.aborted), error),
  )
  return process
}

/** Faults of our own are never part of the world; but two at work at once do meet. */
const OWN_FAULT = 'Internal'
const MEETINGS = /another pod works|replication slot (already exists|does not exist)/

function loggerOf(process: Process): Logger {
  const at = world()
  const write = (facts: unknown, text?: string) => {
    const { err, code, reason, ...rest } = (typeof facts === 'object' && facts ? facts : {}) as Record<
      string,
      unknown
    >
    const error = err instanceof Error ? err.message : ''
    at.log.push(
      `      ${process.name}: ${text ?? String(facts)} ${[code, reason, error, JSON.stringify(rest)].filter(Boolean).join(' ')}`,
    )
    if (code === OWN_FAULT && !MEETINGS.test(String(reason))) {
      at.check.broken ??= `${process.name}: ${reason}`
    }
  }
  const quiet = () => {}
  return {
    level: 'info',
    debug: quiet,
    trace: quiet,
    info: write,
    warn: write,
    error: write,
    fatal: write,
    child: () => loggerOf(process),
  } as unknown as Logger
}

/** As a power cut would. What was sent may arrive all the same. */
export function kill(process: Process, arrives: (index: number) => boolean): void {
  if (process.dead) return
  process.dead = true
  process.exit = 137
  for (const [index, each] of [...process.calls].entries()) {
    if (each.lingers && arrives(index)) {
      process.calls.splice(process.calls.indexOf(each), 1)
      world().late.push(each)
    } else each.drop()
  }
  for (const each of process.onDeath) each()
}
