import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Transport } from '../../lib/kube/transport.ts'
import { type CaptureBed, type CaptureOptions, openCaptureBed } from './capture-fixture.ts'
import { adminTransport, installCrds } from './kubernetes.ts'
import { replay } from './queue-events.ts'

let transport: Transport
const beds: CaptureBed[] = []

beforeAll(async () => {
  transport = await adminTransport()
  await installCrds(transport)
})
afterEach(async () => {
  for (const bed of beds.splice(0)) await bed.close()
})
afterAll(() => transport?.close())

async function open(name: string, options: CaptureOptions): Promise<CaptureBed> {
  const bed = await openCaptureBed(transport, name, options)
  beds.push(bed)
  return bed
}

describe('the changes of a table', () => {
  it('come in order, with null, unchanged and empty told apart', async () => {
    const bed = await open('rows', {
      source: `create table t (id int primary key, note text, big text);
        alter table t alter big set storage external`,
      tables: [{ name: 't' }],
    })
    bed.run()
    await bed.untilJoined('t')
    await bed.sql(
      `insert into t values (1, 'first', repeat('x', 10000)), (2, null, ''), (3, E'a\\t"q"\\\\ é 🎉 \\u0001', null)`,
    )
    await bed.sql(
      `update t set note = 'second' where id = 1; update t set id = 20 where id = 2; delete from t where id = 3`,
    )
    await bed.sql(`truncate t`)
    await bed.sql(`insert into t values (4, 'last', 'y')`)
    const events = await bed.untilEvents('t', 'all', (all) => all.at(-1)?.row.id === '4')
    expect(events[0]?.control).toMatchObject({ control: 'join' })
    expect(events[0]?.header.columns).toEqual([])
    const rows = events.slice(1)
    expect(rows.map((event) => event.op).join('')).toBe('iiiuudti')
    expect(rows[0]?.header).toMatchObject({
      v: 1,
      epoch: 1,
      table: ['public', 't'],
      columns: [
        ['id', 'integer', 1],
        ['note', 'text', 0],
        ['big', 'text', 0],
      ],
    })
    expect(rows[1]?.row).toEqual({ id: '2', note: null, big: '' })
    expect(rows[2]?.row).toEqual({ id: '3', note: 'a\t"q"\\ é 🎉 \u0001', big: null })
    expect(rows[3]).toMatchObject({ row: { id: '1', note: 'second' }, old: undefined })
    expect(rows[3]?.row.big).toBeUndefined()
    expect(rows[4]).toMatchObject({ row: { id: '20' }, old: ['2'] })
    expect(rows[5]?.old).toEqual(['3'])
    expect([...replay(events).values()]).toEqual([{ id: '4', note: 'last', big: 'y' }])
  })
})
