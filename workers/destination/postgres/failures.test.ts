import { expect, it } from 'vitest'
import { MillraceError } from '../../../lib/errors.ts'
import { serverCode, unavailable, writeFailure } from './failures.ts'

const orders = { schema: 'shop', name: 'orders' }

function fromServer(facts: Record<string, string>): MillraceError {
  const server = Object.assign(new Error(facts.message ?? 'secret 4711'), { severity: 'ERROR', ...facts })
  return new MillraceError('Internal', 'refused', { cause: server })
}

it.each([
  [
    { code: '22P02', where: 'COPY millrace_rows, line 3, column c1: "secret 4711"' },
    /column "note" is not valid/,
  ],
  [{ code: '22001', where: 'COPY orders, line 3, column c7: "secret 4711"' }, /column "c7" is too long/],
  [{ code: '22003' }, /a value is out of the range/],
  [{ code: '23502', column: 'c1' }, /column "note" is NULL/],
  [{ code: '23505', constraint: 'one', detail: 'Key (id)=(secret 4711)' }, /unique index "one"/],
  [{ code: '23514', constraint: 'even' }, /check constraint "even"/],
  [
    { code: '54000', message: 'index row size 3000 exceeds secret 4711' },
    /too large for the destination's index/,
  ],
  [{ code: 'P0001' }, /trigger of the destination/],
])('%o becomes ValueRejected without the value', (facts, message) => {
  const error = writeFailure(fromServer(facts as Record<string, string>), orders, (name) =>
    name === 'c1' ? 'note' : name,
  ) as MillraceError
  expect(error).toMatchObject({ code: 'ValueRejected', retryable: false })
  expect(error.message).toMatch(message)
  expect(error.message).toContain('shop.orders')
  expect(JSON.stringify(error) + error.message + String(error.cause)).not.toContain('4711')
})

it('calls a lost connection a destination that is away', () => {
  const lost = new MillraceError('ConnectionLost', 'lost', { field: 'spec.destination.postgres.host' })
  expect(unavailable(lost)).toMatchObject({
    code: 'DestinationUnavailable',
    retryable: true,
    field: 'spec.destination.postgres.host',
  })
})

it('leaves everything else as it is', () => {
  const error = new MillraceError('LockTimeout', 'busy')
  expect(writeFailure(error, orders)).toBe(error)
  expect(writeFailure('thrown', orders)).toBe('thrown')
  expect(serverCode(fromServer({ code: '40P01' }))).toBe('40P01')
  expect(serverCode(error)).toBeUndefined()
})
