import type { TableBackfill } from '../../crds/table-backfill.ts'

/**
 * Whether a table that is stuck may pass what it failed at, because a backfill that empties it has begun, or waits behind one
 * that has (rule R21). That one would wait for its hold for ever, and the cure for its end: the hold lies behind what the table
 * is stuck at, and is refused only once the table has stopped.
 *
 * @param backfills those of the table
 */
export function isCureUnderWay(backfills: readonly TableBackfill[]): boolean {
  const wanted = backfills.filter(({ metadata, spec }) => !spec.cancel && !metadata.deletionTimestamp)
  const begun = wanted.filter(({ status }) => hasBegun(status?.phase))
  const waits = ({ spec, status }: TableBackfill) => !spec.suspend && (status?.phase ?? 'Queued') === 'Queued'
  return begun.some(empties) || (begun.length > 0 && wanted.some((one) => empties(one) && waits(one)))
}

const hasBegun = (phase: string | undefined) => phase === 'Preparing' || phase === 'Backfilling'

const empties = ({ spec }: TableBackfill) => spec.destinationTable !== 'DoNothing'
