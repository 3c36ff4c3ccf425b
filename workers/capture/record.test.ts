import { describe, expect, it } from 'vitest'
import type { OutgoingRecord } from '../queue/queue.ts'
import { foldRecords, type RecordedTopic, stateRecord, topicRecord } from './record.ts'

const read = (records: readonly OutgoingRecord[]) =>
  foldRecords(
    records.map((record, index) => ({
      topic: 'p.__capture',
      offset: BigInt(index),
      timestamp: 0,
      key: record.key,
      value: record.value,
      headers: {},
    })),
  )
const state = (epoch: number, lsn: bigint) =>
  stateRecord({ epoch, lsn, systemIdentifier: 's', timeline: 1, owner: 'p' })
const topic = (version: number, written: boolean): RecordedTopic => ({
  topic: 'p.public.t',
  table: { schema: 'public', name: 't' },
  incarnation: 'i',
  written,
  fingerprint: undefined,
  version,
})

describe("capture's record", () => {
  it('is empty at first', () => {
    expect(read([])).toEqual({ state: undefined, topics: new Map(), ends: new Map() })
  })

  it('gives back what was written', () => {
    const found = read([state(1, 0x16_b374_d848n), topicRecord(topic(1, true))])
    expect(found.state).toEqual({
      epoch: 1,
      lsn: 0x16_b374_d848n,
      systemIdentifier: 's',
      timeline: 1,
      owner: 'p',
    })
    expect(found.topics.get('p.public.t')).toEqual(JSON.parse(JSON.stringify(topic(1, true))))
  })

  it('gives back the highest end of each topic as it is now (R24)', () => {
    const at = (incarnation: string, end: bigint) =>
      stateRecord(
        { epoch: 1, lsn: 1n, systemIdentifier: 's', timeline: 1, owner: 'p' },
        new Map([['p.public.t', { incarnation, end }]]),
      )
    const found = read([topicRecord(topic(1, true)), at('i', 7n), at('before', 90n), at('i', 5n)])
    expect(found.ends).toEqual(new Map([['p.public.t', 7n]]))
  })

  it('goes by position and version, since a capture that was replaced may write late', () => {
    const found = read([
      state(1, 10n),
      state(1, 30n),
      topicRecord(topic(2, true)),
      state(1, 20n),
      topicRecord(topic(1, false)),
    ])
    expect(found.state?.lsn).toBe(30n)
    expect(found.topics.get('p.public.t')?.written).toBe(true)
    expect(read([state(1, 30n), state(2, 5n), state(1, 40n)]).state).toMatchObject({ epoch: 2, lsn: 5n })
  })
})
