import { describe, expect, it } from 'vitest'
import type { ServerIdentity } from './identity.ts'
import { parseLSN } from './lsn.ts'
import {
  assertBehind,
  assertHoldInLog,
  assertOneServer,
  assertReplica,
  type ReplayState,
  replayWait,
} from './scan-server.ts'

const address = { host: 'replica', port: 5432, field: 'spec.source.postgres.replicas[0]' }
const primary: ServerIdentity = {
  systemIdentifier: '7',
  timeline: 2,
  address: '10.0.0.1',
  port: 5432,
  startTime: '2026-01-01 00:00:00+00',
  inRecovery: false,
}
const replica: ServerIdentity = { ...primary, address: '10.0.0.2', inRecovery: true }

describe('assertReplica', () => {
  it('takes a replica of the primary', () => {
    expect(() => assertReplica(primary, replica, address)).not.toThrow()
  })

  it.each<[string, Partial<ServerIdentity>, RegExp]>([
    [
      'of another system',
      { systemIdentifier: '8' },
      /is a server of another system .*8.*7.*; name a streaming replica/,
    ],
    ['the primary', primary, /is the primary itself; name a replica, or set readFrom to Primary/],
    ['promoted', { inRecovery: false, timeline: 3 }, /is not a replica \(any more\).*if it was promoted/],
    [
      'on another timeline',
      { timeline: 1 },
      /is on timeline 1, the primary on 2; let it follow this primary/,
    ],
  ])('refuses one that is %s', (_name, changes, message) => {
    expect(() => assertReplica(primary, { ...replica, ...changes }, address)).toThrow(
      expect.objectContaining({
        code: 'ReplicaMismatch',
        retryable: true,
        field: 'spec.source.postgres.replicas[0].host',
        message: expect.stringMatching(message),
      }),
    )
  })
})

describe('assertOneServer', () => {
  it.each<[string, Partial<ServerIdentity>]>([
    ['address', { address: '10.0.0.3' }],
    ['port', { port: 5433 }],
    ['start', { startTime: '2026-01-02 00:00:00+00' }],
  ])('refuses connections to servers that differ in %s', (_name, changes) => {
    expect(() => assertOneServer([replica, replica], address)).not.toThrow()
    expect(() => assertOneServer([replica, replica, { ...replica, ...changes }], address)).toThrow(
      /leads to different servers \(10\.0\.0\.2:5432 .* and .*\); name one replica, not a load balancer/,
    )
  })
})

describe('assertBehind', () => {
  it.each(['0/0', '0/30C8000', '0/30C8020'])('lets a replica be that is at %s', (replayed) => {
    expect(() => assertBehind(parseLSN(replayed), parseLSN('0/30C8020'), address)).not.toThrow()
  })

  it('refuses one that has more than its primary', () => {
    expect(() => assertBehind(parseLSN('1/0'), parseLSN('0/30C8020'), address)).toThrow(
      expect.objectContaining({
        code: 'ReplicaMismatch',
        retryable: true,
        message: expect.stringMatching(/has replayed to 1\/0, but the log of its primary ends at 0\/30C8020/),
      }),
    )
  })
})

describe('assertHoldInLog', () => {
  it.each(['0/30C8020', '1/0'])('lets a hold be that is in the log: %s', (end) => {
    expect(() => assertHoldInLog(parseLSN(end), parseLSN('0/30C8020'), address)).not.toThrow()
  })

  it('ends a copy whose hold is not in the log any more', () => {
    expect(() => assertHoldInLog(parseLSN('0/30C8000'), parseLSN('0/30C8020'), address)).toThrow(
      expect.objectContaining({
        code: 'SourceChanged',
        retryable: false,
        message: expect.stringMatching(/ends at 0\/30C8000, the copy begins at 0\/30C8020.*Truncate or Drop/),
      }),
    )
  })
})

describe('replayWait', () => {
  const state = (replayed: string, changes: Partial<ReplayState> = {}): ReplayState => ({
    inRecovery: true,
    replayed: parseLSN(replayed),
    paused: false,
    receiving: true,
    ...changes,
  })
  const wait = 'waiting for replica replica:5432 to replay to 0/30C8020'
  it.each<[string, ReplayState, string | undefined]>([
    ['there', state('0/30C8020'), undefined],
    ['past it', state('1/0'), undefined],
    ['a little behind', state('0/30C8000'), `${wait} (now 0/30C8000, 1 kB behind)`],
    ['behind', state('0/20C8020'), `${wait} (now 0/20C8020, 17 MB behind)`],
    [
      'paused',
      state('0/0', { paused: true }),
      `${wait} (now 0/0, 51 MB behind; its replay is paused: run SELECT pg_wal_replay_resume() there)`,
    ],
    [
      'cut off',
      state('0/0', { receiving: false }),
      `${wait} (now 0/0, 51 MB behind; it receives no log at present: check its connection to the primary)`,
    ],
  ])('%s', (_name, found, expected) => {
    expect(replayWait(found, parseLSN('0/30C8020'), address)).toBe(expected)
  })
})
