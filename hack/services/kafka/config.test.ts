import { describe, expect, it } from 'vitest'
import { brokerProperties } from './config.ts'
import { brokerCount } from './ready.ts'

describe('brokerProperties', () => {
  const clients = [
    { host: '127.0.0.1', port: 1 },
    { host: '10.0.0.1', port: 2 },
  ]
  const lines = (settings?: Record<string, string>) =>
    brokerProperties({ dataDir: '/data', clients, controllerPort: 3, settings }).split('\n')

  it('advertises each listener under its own address', () => {
    expect(lines()).toContain('advertised.listeners=CLIENT0://127.0.0.1:1,CLIENT1://10.0.0.1:2')
    expect(lines()).toContain('listeners=CLIENT0://127.0.0.1:1,CLIENT1://10.0.0.1:2,CONTROLLER://127.0.0.1:3')
  })

  it('keeps everything for ever unless told otherwise', () => {
    expect(lines()).toContain('log.retention.ms=-1')
    expect(lines({ 'log.retention.ms': '1000' })).toContain('log.retention.ms=1000')
  })
})

it('waits for the part of an answer that counts the brokers', () => {
  const answer = Buffer.alloc(16)
  answer.writeInt32BE(1, 12)
  expect(brokerCount(answer.subarray(0, 12))).toBeUndefined()
  expect(brokerCount(answer)).toBe(1)
})
