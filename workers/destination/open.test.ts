import { pino } from 'pino'
import { expect, it } from 'vitest'
import { type DestinationOptions, openDestination } from './open.ts'

const postgres = { host: 'h', port: 5432, database: 'd', sslMode: 'Require', ledgerSchema: 'millrace' }

function open(destination: object) {
  return openDestination({
    spec: { destination } as unknown as DestinationOptions['spec'],
    pipelineUid: 'u',
    pipelineLabel: 'n/p',
    secrets: { read: async () => '' },
    process: 'test',
    log: pino({ level: 'silent' }),
  })
}

it('opens PostgreSQL without connecting', () => {
  expect(open({ postgres }).kind).toBe('postgres')
})

it('opens Redshift without connecting, and without its SDK', () => {
  const redshift = {
    region: 'eu-central-1',
    workgroupName: 'w',
    database: 'd',
    s3: { bucket: 'b', prefix: '' },
    onUnfit: 'Null',
    ledgerSchema: 'millrace',
  }
  expect(open({ redshift }).kind).toBe('redshift')
})

it.each([
  [{ postgres, redshift: {} }, /both of postgres and redshift found; set exactly one/],
  [{}, /neither of postgres and redshift found; set exactly one/],
])('refuses %o', (destination, message) => {
  expect(() => open(destination)).toThrow(message)
  expect(() => open(destination)).toThrow(expect.objectContaining({ code: 'InvalidSpec' }))
})
