import type { ChunkRequest, ChunkResult } from '../destination.ts'
import { type ChunkGroups, judgeChunk } from './chunk-group.ts'
import { scannedColumns, valueRejected } from './columns.ts'
import type { RedshiftContext } from './context.ts'
import { workName } from './ensure-table.ts'
import type { RowScanner } from './row-scanner.ts'
import { createRowStage } from './stage-rows.ts'

const NOT_WRITTEN: ChunkResult = { rows: 0n, bytes: 0n, written: false }

/** `Destination.writeChunk`: reads into files, then commits together with the chunks that are ready at the same time. */
export async function writeChunk(
  context: RedshiftContext,
  groups: ChunkGroups,
  readLedger: (request: ChunkRequest, signal: AbortSignal) => Promise<void>,
  request: ChunkRequest,
  signal: AbortSignal,
): Promise<ChunkResult> {
  const { fence, plan, chunk } = request
  const { known, files, rules } = context
  if (!known.backfill(fence.uid) || !known.chunk(fence.uid, plan, chunk)) await readLedger(request, signal)
  const judge = () => judgeChunk(known.backfill(fence.uid), known.chunk(fence.uid, plan, chunk), request)
  try {
    if (judge() === 'done') return NOT_WRITTEN
  } catch {
    // What this process knows may be old.
    await readLedger(request, signal)
    if (judge() === 'done') return NOT_WRITTEN
  }
  const columns = rules(request.definition)
  const prefix = `${files.prefix}backfill/${fence.uid}-${fence.attempt}/${workName(plan, chunk)}-`
  const stage = createRowStage(
    await files.objects(),
    prefix,
    scannedColumns(columns, context.policy),
    context.buffers,
  )
  try {
    const { keys, rows, bytes, unfit } = await stage.write(request.read(signal), refuseUnfit, signal)
    await request.beforeCommit(signal)
    const written = await groups.commit({ request, keys, rows, bytes }, signal)
    if (!written) {
      files.discard(keys)
      return NOT_WRITTEN
    }
    for (const [index, count] of unfit) {
      context.onUnfit(request.definition, columns[index]?.name ?? String(index), count)
    }
    return { rows, bytes, written: true }
  } catch (error) {
    stage.abandon()
    // While a transaction may still be about to read them, they stay; the sweep comes for them.
    if (!signal.aborted) files.discard(stage.keys)
    throw error
  }

  function refuseUnfit({ unfit }: RowScanner): void {
    for (const index of unfit.keys()) {
      const column = columns[index]
      if (column && (column.key || context.policy === 'Fail')) {
        throw valueRejected(column.name, column.type, column.key)
      }
    }
  }
}
