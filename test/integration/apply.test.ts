import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Transport } from '../../lib/kube/transport.ts'
import { type ApplyBed, type ApplyOptions, openBed } from './apply-fixture.ts'
import { adminTransport, installCrds } from './kubernetes.ts'

let transport: Transport
const beds: ApplyBed[] = []

beforeAll(async () => {
  transport = await adminTransport()
  await installCrds(transport)
})

afterAll(async () => {
  for (const bed of beds) await bed.close()
  transport.close()
})

const KV = 'create table t (k integer primary key, v text)'

async function open(name: string, options: Partial<ApplyOptions> = {}): Promise<ApplyBed> {
  const bed = await openBed(transport, name, { source: KV, ...options })
  beds.push(bed)
  return bed
}

describe('streaming', () => {
  it('applies what is in the queue, then what comes', async () => {
    const bed = await open('stream')
    await bed.control(0x100, { control: 'join', lsn: '0/110' })
    await bed.rows(0x200, [
      ['i', 2, ['1', 'one']],
      ['i', 4, ['2', 'two']],
      ['i', 6, ['3', null]],
    ])
    bed.run()
    await bed.untilContents(['(1,one)', '(2,two)', '(3,)'])
    await bed.rows(0x300, [
      ['u', 2, ['1', 'uno']],
      ['d', 4, ['2']],
      ['u', 6, ['9', 'drei'], ['3']],
    ])
    await bed.untilContents(['(1,uno)', '(9,drei)'])
    await bed.rows(0x400, [
      ['t', 2],
      ['i', 4, ['5', 'five']],
    ])
    await bed.untilContents(['(5,five)'])
    expect(await bed.ledger()).toMatchObject({
      nextOffset: 4n,
      position: { epoch: 1, lsn: 0x400n, sequence: 4 },
      historyComplete: false,
      unknownHistory: false,
      state: 'active',
    })
  })
})
