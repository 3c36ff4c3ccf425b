import { describe, expect, it } from 'vitest'
import { MillraceError } from '../../lib/errors.ts'
import { cutMessage, toProblem } from './problems.ts'

describe('toProblem', () => {
  const table = { schema: 'public', name: 'orders' }

  it.each([
    [
      'by its field',
      new MillraceError('HostUnreachable', 'm', { field: 'spec.destination.postgres.host' }),
      {},
      'Destination',
    ],
    [
      'by its field',
      new MillraceError('SecretMissing', 'm', { field: 'spec.source.postgres' }),
      {},
      'Source',
    ],
    ['by its code', new MillraceError('SlotInUse', 'm', { field: 'spec.source.postgres.slot' }), {}, 'Slot'],
    ['by its code', new MillraceError('QueueUnavailable', 'm'), {}, 'Queue'],
    ['by its table', new MillraceError('NoReplicaIdentity', 'm'), { table }, 'Table'],
    [
      'by what the caller says',
      new MillraceError('Internal', 'm'),
      { component: 'Queue' as const, table },
      'Queue',
    ],
  ])('knows what it is about %s', (_, error, about, component) => {
    expect(toProblem(error, about).component).toBe(component)
  })

  it('keeps code and message', () => {
    expect(toProblem(new MillraceError('TableNotFound', 'no such table'), { table })).toEqual({
      component: 'Table',
      table,
      code: 'TableNotFound',
      message: 'no such table',
    })
  })
})

describe('cutMessage', () => {
  it('cuts what a status does not take, never through a character', () => {
    expect(cutMessage('short')).toBe('short')
    const cut = cutMessage('🐘'.repeat(40_000))
    expect(cut.length).toBeLessThanOrEqual(32_000)
    expect(cut.isWellFormed()).toBe(true)
  })
})
