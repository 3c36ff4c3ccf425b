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

it.each([
  [{ redshift: {} }, /spec\.destination\.redshift.*yet/],
  [{ postgres, redshift: {} }, /both of postgres and redshift found; set exactly one/],
  [{}, /neither of postgres and redshift found; set exactly one/],
])('refuses %o', (destination, message) => {
  expect(() => open(destination)).toThrow(message)
  expect(() => open(destination)).toThrow(expect.objectContaining({ code: 'InvalidSpec' }))
})
