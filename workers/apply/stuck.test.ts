import { describe, expect, it } from 'vitest'
import { MillraceError } from '../../lib/errors.ts'
import { isStuck } from './stuck.ts'

describe('isStuck', () => {
  it.each([
    ['what a new table cures, at once', new MillraceError('ValueRejected', ''), 1, true],
    ['the same where it may also go away', new MillraceError('NoReplicaIdentity', ''), 1, true],
    ['a name that the destination cannot hold', new MillraceError('InvalidSpec', ''), 4, true],
    ['what nobody foresaw, once it comes again and again', new MillraceError('Internal', ''), 4, true],
    ['not before', new MillraceError('Internal', ''), 3, false],
    ['what may succeed later', new MillraceError('DestinationUnavailable', ''), 100, false],
    ['what this error says may', new MillraceError('InvalidSpec', '', { retryable: true }), 100, false],
    ['somebody else who was faster', new MillraceError('LedgerConflict', ''), 100, false],
  ])('%s', (_what, error, failures, expected) => {
    expect(isStuck(error, failures)).toBe(expected)
  })
})
