import { TABLE_BACKFILLS } from '../../crds/api.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { rejectionOf } from '../../lib/kube/rejection.ts'
import type { OperatorContext } from '../context.ts'
import { ownerReference } from '../kube/desired.ts'
import { within } from '../kube/resources.ts'
import { childName } from '../names.ts'

/**
 * Makes the TableBackfill that compares what this one has copied. To be called before its end is recorded, so that it is
 * made once and never again; one of that name that is there already is taken for it.
 */
export async function createVerification(
  { kube, stores, events, log }: OperatorContext,
  backfill: TableBackfill,
  signal: AbortSignal,
): Promise<void> {
  const { namespace, name } = backfill.metadata
  const manifest = {
    apiVersion: backfill.apiVersion,
    kind: TABLE_BACKFILLS.kind,
    metadata: { name: childName(name, 'verify'), namespace, ownerReferences: [ownerReference(backfill)] },
    spec: {
      pipelineRef: backfill.spec.pipelineRef,
      table: backfill.spec.table,
      backfill: backfill.spec.backfill,
      verify: 'Only',
    },
  }
  try {
    const resource = within(TABLE_BACKFILLS, namespace)
    stores.backfills.observe(await kube.create<TableBackfill>(resource, manifest, signal))
  } catch (error) {
    if (rejectionOf(error)?.status !== 409) throw error
    return
  }
  log.info({ namespace, backfill: name, verification: manifest.metadata.name }, 'Created a verification')
  const note = `created TableBackfill ${manifest.metadata.name}, which compares the table with its source`
  events.record(backfill, 'Normal', 'Verifying', 'Verify', note)
}
