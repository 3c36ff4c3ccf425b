import { describe, expect, it } from 'vitest'
import { MAX_RECORD_BYTES, type OutgoingRecord } from '../queue/queue.ts'
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

  it('keeps a gap that was found until the next epoch has begun, whatever comes late', () => {
    const gap = { code: 'SourceChanged', message: 'm' } as const
    const found = stateRecord({ epoch: 1, lsn: 5n, systemIdentifier: 's', timeline: 1, owner: 'p', gap })
    expect(read([state(1, 5n), found]).state?.gap).toEqual(gap)
    expect(read([found, state(1, 9n)]).state).toMatchObject({ lsn: 9n, gap })
    expect(read([found, state(2, 3n)]).state?.gap).toBeUndefined()
  })

  it('has room for a table of many partitions', () => {
    const partition = { persistence: 'p', tablespace: 0, identity: ['id', 'created_at'], attached: [] }
    const leaves = Array.from({ length: 20_000 }, (_, index) => ({
      oid: 1_000_000 + index,
      name: `measurements_of_hour_${index}`,
      filenode: String(2_000_000 + index),
      partition: { ...partition, attached: [`${1_000_000 + index}:${3_000_000 + index}`] },
    }))
    const fingerprint = { oid: 1, columns: [], lastNumber: 0, key: [], leaves }
    const record = topicRecord({ ...topic(1, true), fingerprint })
    expect(record.value.length).toBeLessThan(MAX_RECORD_BYTES)
    expect(read([record]).topics.get('p.public.t')?.fingerprint).toEqual(fingerprint)
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
