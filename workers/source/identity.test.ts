import { expect, it } from 'vitest'
import { type ServerIdentity, whyNotSameSource } from './identity.ts'

const begun: ServerIdentity = {
  systemIdentifier: '7',
  timeline: 1,
  address: '10.0.0.1',
  port: 5432,
  startTime: '2026-11-23 10:00:00+00',
  inRecovery: false,
}

it.each<[string, Partial<ServerIdentity>, string | undefined]>([
  ['the server that was begun with', {}, undefined],
  ['that after a restart, under another address', { startTime: 'later', address: '10.0.0.2' }, undefined],
  ['another cluster', { systemIdentifier: '8' }, 'another database cluster'],
  ['a replica that was promoted', { timeline: 2 }, 'on timeline 2'],
  ['a replica of the same timeline', { inRecovery: true }, 'a replica'],
])('%s', (_, found, expected) => {
  const why = whyNotSameSource({ ...begun, ...found }, begun)
  if (expected === undefined) expect(why).toBeUndefined()
  else expect(why).toContain(expected)
})
