import { describe, expect, it } from 'vitest'
import { ERROR_CODES, type ErrorCode, MillraceError } from '../../lib/errors.ts'
import type { Column } from '../source/table.ts'
import {
  CHUNK_PATIENCE_MILLISECONDS,
  hasOtherColumns,
  holdPatience,
  judgeAttempt,
  judgeChunk,
  PATIENCE_MILLISECONDS,
} from './decisions.ts'

const COLUMN: Column = {
  name: 'other',
  type: 'integer',
  typeOid: 23,
  typeModifier: -1,
  typeKind: 'base',
  baseType: 'integer',
  notNull: false,
}

const error = (code: ErrorCode, retryable?: boolean) =>
  new MillraceError(code, 'x', retryable === undefined ? {} : { retryable })

describe('hasOtherColumns', () => {
  const columns = (...types: string[]) => ({
    columns: types.map((type, index) => ({ ...COLUMN, name: `c${index}`, type, baseType: type })),
  })
  it.each([
    ['the same', columns('integer', 'text'), false],
    ['a wider type', columns('integer', 'character varying(5)'), true],
    ['a column more', columns('integer', 'text', 'date'), true],
    ['a column less', columns('integer'), true],
    ['another name', { columns: [COLUMN, ...columns('', 'text').columns.slice(1)] }, true],
    [
      'NOT NULL alone',
      { columns: columns('integer', 'text').columns.map((each) => ({ ...each, notNull: true })) },
      false,
    ],
  ])('%s', (_name, now, expected) => {
    expect(hasOtherColumns(columns('integer', 'text'), now)).toBe(expected)
  })
})

describe('judgeChunk', () => {
  it.each<[ErrorCode, string]>([
    ['SnapshotLost', 'reopen'],
    ['ReplicaBehind', 'reopen'],
    ['TableRewritten', 'replan'],
    ['ReplicaConflict', 'split'],
    ['ConnectionLost', 'retry'],
    ['HostUnreachable', 'retry'],
    ['TooManyConnections', 'retry'],
    ['LockTimeout', 'retry'],
    ['DestinationUnavailable', 'retry'],
    ['Throttled', 'retry'],
    ['LedgerConflict', 'stop'],
    ['ReplicaMismatch', 'stop'],
    ['PermissionDenied', 'stop'],
    ['Fenced', 'stop'],
    ['NotHeld', 'stop'],
    ['ValueRejected', 'stop'],
    ['Internal', 'stop'],
  ])('%s: %s', (code, expected) => {
    expect(judgeChunk(error(code), 'Key', 0)).toBe(expected)
  })

  it('takes a missing partition for a plan that is void, and a missing table for the end of the attempt', () => {
    expect(judgeChunk(error('TableNotFound'), 'Ctid', 0)).toBe('replan')
    expect(judgeChunk(error('TableNotFound'), 'Key', 0)).toBe('stop')
  })

  it('makes a chunk smaller that ran out of time', () => {
    expect(judgeChunk(error('DeadlineExceeded', true), 'Key', 0)).toBe('split')
  })

  it('gives up trying chunks when none of them gets through', () => {
    expect(judgeChunk(error('ReplicaConflict'), 'Key', CHUNK_PATIENCE_MILLISECONDS - 1)).toBe('split')
    expect(judgeChunk(error('ReplicaConflict'), 'Key', CHUNK_PATIENCE_MILLISECONDS)).toBe('stop')
    expect(judgeChunk(error('SnapshotLost'), 'Key', CHUNK_PATIENCE_MILLISECONDS)).toBe('reopen')
  })
})

describe('judgeAttempt', () => {
  it.each<[ErrorCode, boolean | undefined, number, string]>([
    ['Fenced', undefined, 0, 'ask'],
    ['NotHeld', undefined, 0, 'ask'],
    ['ValueRejected', undefined, 0, 'give up'],
    ['NoUsableKey', undefined, 0, 'give up'],
    ['InvalidSpec', undefined, 0, 'give up'],
    ['InvalidSpec', true, PATIENCE_MILLISECONDS, 'again'],
    ['DeadlineExceeded', true, 0, 'give up'],
    ['AuthenticationFailed', undefined, PATIENCE_MILLISECONDS, 'again'],
    ['ConnectionLost', undefined, PATIENCE_MILLISECONDS - 1, 'again'],
    ['ConnectionLost', undefined, PATIENCE_MILLISECONDS, 'give up'],
    ['Internal', undefined, 0, 'give up'],
    ['Internal', true, 0, 'again'],
  ])('%s (retryable %s) after %i ms: %s', (code, retryable, idle, expected) => {
    expect(judgeAttempt(error(code, retryable), idle)).toBe(expected)
  })

  it('never goes on with what cannot pass by itself', () => {
    for (const code of ERROR_CODES) {
      if (code === 'Fenced' || code === 'NotHeld') continue
      expect(judgeAttempt(error(code, false), 0)).toBe('give up')
    }
  })
})

describe('holdPatience', () => {
  it('grows, so that a paused Pipeline does not fill its queue', () => {
    expect([0, 1, 2, 3, 4, 99].map(holdPatience)).toEqual([20_000, 40_000, 80_000, 160_000, 300_000, 300_000])
  })
})
