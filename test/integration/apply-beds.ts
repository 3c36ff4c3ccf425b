import { afterAll, beforeAll } from 'vitest'
import type { Transport } from '../../lib/kube/transport.ts'
import { type ApplyBed, type ApplyOptions, type Columns, hold, openBed } from './apply-fixture.ts'
import { adminTransport, installCrds } from './kubernetes.ts'

/** A table with one column more than the usual one, and how the queue describes it. */
export const KVT = 'create table t (k integer primary key, v text, x text)'
export const KVT_COLUMNS: Columns = [
  ['k', 'integer', 1],
  ['v', 'text', 0],
  ['x', 'text', 0],
]

const SOURCE = 'create table t (k integer primary key, v text)'

/** For a test file: what its tests open is closed at its end. Registers the hooks. */
export function useApplyBeds() {
  const beds: ApplyBed[] = []
  let transport: Transport | undefined

  beforeAll(async () => {
    transport = await adminTransport()
    await installCrds(transport)
  })
  afterAll(async () => {
    for (const bed of beds) await bed.close()
    transport?.close()
  })

  async function open(name: string, options: Partial<ApplyOptions> = {}): Promise<ApplyBed> {
    if (!transport) throw new Error('the API server has not been started yet')
    const bed = await openBed(transport, name, { source: SOURCE, ...options })
    beds.push(bed)
    return bed
  }

  /** Joined, one row applied, held by backfill `b`, one more row behind the hold. */
  async function openHeld(name: string, action: 'DoNothing' | 'Truncate' | 'Drop' = 'DoNothing') {
    const bed = await open(name)
    const uid = await bed.backfill('b', { destinationTable: action })
    await bed.control(0x100, { control: 'join', lsn: '0/110' })
    await bed.rows(0x200, [['i', 2, ['1', 'before']]])
    await bed.control(0x900, hold(uid, 'b', action))
    await bed.rows(0xa00, [['i', 2, ['2', 'behind']]])
    const worker = bed.run()
    await bed.untilQueue('b', 'Held')
    return { bed, uid, worker }
  }

  return { open, openHeld }
}

/** State of a table as the Pipeline's status tells it. */
export const applied = async (bed: ApplyBed, name = 't') =>
  (await bed.pipeline()).status?.apply?.tables?.find((table) => table.name === name)
