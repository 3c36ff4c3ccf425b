import type { Pipeline } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { MillraceError } from '../../lib/errors.ts'
import { around } from '../../lib/failpoints.ts'
import type { KubeApi } from '../../lib/kube/api.ts'
import type { LedgerBackfill } from '../destination/ledger.ts'
import { openDestination } from '../destination/open.ts'
import type { Secrets, WorkerEnvironment } from '../runtime/context.ts'
import { pipelineResource, tableBackfillResource } from '../runtime/resources.ts'
import { readTableDefinition } from '../source/catalog.ts'
import { type Connection, withConnection } from '../source/connect.ts'
import { readLogEnd } from '../source/identity.ts'
import { formatLSN } from '../source/lsn.ts'
import { publicationName, slotName } from '../source/names.ts'
import { checkReplicable, type SourceNames } from '../source/publication.ts'
import { replicaTargets, sourceTarget } from '../source/targets.ts'
import { writeRelease } from '../source/watermark.ts'
import { copyTable, surveyTable } from './attempt.ts'
import type { Attempt, Job } from './context.ts'
import { obtainHold } from './hold.ts'
import { assertServers } from './server.ts'
import { chooseServer, copySettings, verifyServer } from './settings.ts'
import { verifyTable } from './verify.ts'

/** What a job is started with. */
export interface JobInput {
  readonly env: Pick<WorkerEnvironment, 'namespace' | 'pipeline' | 'pipelineUid'>
  readonly kube: KubeApi
  readonly secrets: Secrets
}

const PROCESS = 'backfill'

/** Calls to the destination beside those of the readers. */
const SPARE_CONNECTIONS = 2

/**
 * Brings the backfill from wherever the ledger says it is to its end: the release is written, or it was ended before. Returns
 * the ledger's last word. Looks at everything anew; may be called again after any failure.
 *
 * @param fenced what an earlier call threw when the ledger refused its writes: then this one only looks whether the backfill
 * has ended, since taking it over from another pod would only make the other do the same
 */
export async function bringToEnd(
  job: Job,
  input: JobInput,
  fenced: MillraceError | undefined,
  signal: AbortSignal,
): Promise<LedgerBackfill | 'verified'> {
  const { uid, report, log } = job
  const { env, secrets } = input
  const { pipeline, backfill } = await readResources(job, input, signal)
  // Before anything is written over it.
  report.goOn(backfill.status?.verify)
  report.stage('Connecting')
  const { spec } = pipeline
  const settings = copySettings(pipeline, backfill)
  report.resumeUnfit(backfill.status?.copy?.unfit)
  const destination = openDestination({
    spec,
    pipelineUid: env.pipelineUid,
    pipelineLabel: `${env.namespace}/${env.pipeline}`,
    secrets,
    process: PROCESS,
    log,
    maxConnections: settings.parallelism + SPARE_CONNECTIONS,
    onUnfit(_table, column, count) {
      job.metrics.unfit(column, count)
      report.unfit(column, count)
    },
  })
  try {
    await destination.check(signal)
    const isVerify = backfill.spec.verify === 'Only'
    const row = isVerify ? undefined : await destination.ledger.readBackfill(uid, signal)
    if (row?.state === 'drained' || row?.state === 'closed') return row
    if (row?.state === 'held' && fenced) throw fenced.code === 'Fenced' ? takenOver(fenced) : fenced
    const primary = sourceTarget(spec, secrets, PROCESS)
    return await withConnection(primary, { purpose: 'query', signal }, async (control) => {
      const names = {
        publication: publicationName(spec, env.namespace, env.pipeline),
        slot: slotName(spec, env.namespace, env.pipeline),
      }
      if (row?.state === 'copied') return release(job, row, control, names)
      const { table, field, filter } = settings
      const readDefinition = async (connection: Connection) => {
        const found = await readTableDefinition(connection, table, { field, filter })
        if (!isVerify) await checkReplicable(connection, found, field)
        return found
      }
      const definition = await readDefinition(control)
      const replicas = replicaTargets(spec, secrets, PROCESS)
      const attempt: Attempt = {
        ...job,
        settings,
        names,
        destination,
        primary,
        replicas,
        control,
        definition,
        readDefinition,
        readFrom: isVerify
          ? verifyServer(settings, replicas.length)
          : chooseServer(settings, definition, replicas.length),
        signal,
      }
      if (!isVerify) return holdAndCopy(attempt, row)
      const findings = (await verifyTable(attempt)).status()
      const result = (findings.rowsDifferent ?? 0) === 0 ? 'Equal' : 'Different'
      report.verified({ ...findings, result })
      log.info({ ...findings, examples: undefined, result }, 'Verified')
      return 'verified'
    })
  } finally {
    await destination.close()
  }
}

async function holdAndCopy(attempt: Attempt, row: LedgerBackfill | undefined): Promise<LedgerBackfill> {
  const found = row ?? (await prepare(attempt))
  if (found.state === 'drained' || found.state === 'closed') return found
  const copied = found.state === 'held' ? await copyTable(attempt) : found
  attempt.progressed()
  return release(attempt, copied, attempt.control, attempt.names)
}

/** Whatever can be known to stand against the copy is found before the table is held, because from then on its changes wait. */
async function prepare(attempt: Attempt): Promise<LedgerBackfill> {
  const { facts } = await surveyTable(attempt, attempt.control)
  attempt.report.facts({ rowsEstimated: facts.rows })
  await assertServers(attempt)
  const held = await obtainHold(attempt)
  attempt.progressed()
  return held
}

/** Writes the second watermark. Should it get lost, apply writes it again (rule R4). */
async function release(
  { uid, report }: Job,
  row: LedgerBackfill,
  control: Connection,
  names: SourceNames,
): Promise<LedgerBackfill> {
  report.stage('Releasing')
  await around('watermark.release', () => writeRelease(control, names, { uid, table: row.table }))
  const { flushed } = await readLogEnd(control)
  report.facts({
    releaseLSN: formatLSN(flushed),
    holdLSN: formatLSN(row.holdLSN),
    attempt: row.attempt,
    actionDone: row.actionDone,
    rowsCopied: Number(row.rows),
    bytesCopied: Number(row.bytes),
  })
  return row
}

async function readResources(
  { name, uid }: Job,
  { env, kube }: JobInput,
  signal: AbortSignal,
): Promise<{ pipeline: Pipeline; backfill: TableBackfill }> {
  const [pipeline, backfill] = await Promise.all([
    kube.get<Pipeline>(pipelineResource(env.namespace), env.pipeline, signal),
    kube.get<TableBackfill>(tableBackfillResource(env.namespace), name, signal),
  ])
  if (backfill?.metadata.uid !== uid) {
    throw new MillraceError('Cancelled', `TableBackfill ${name} was deleted`)
  }
  if (pipeline?.metadata.uid !== env.pipelineUid) {
    throw new MillraceError(
      'PipelineNotFound',
      `spec.pipelineRef.name: there is no Pipeline ${env.pipeline} (any more) in namespace ${env.namespace}`,
      { field: 'spec.pipelineRef.name' },
    )
  }
  return { pipeline, backfill }
}

function takenOver(fenced: MillraceError): MillraceError {
  return new MillraceError('Internal', `another pod works on this backfill: ${fenced.message}`)
}
