import { describe, expect, it } from 'vitest'
import { MillraceError } from '../../lib/errors.ts'
import { exitCode } from './exit.ts'

describe('exitCode', () => {
  it.each([
    ['a retryable error', new MillraceError('ConnectionLost', 'm'), false, 1],
    ['wrong input', new MillraceError('InvalidSpec', 'm'), false, 2],
    [
      'wrong input that the caller calls final',
      new MillraceError('TableNotFound', 'm', { retryable: false }),
      false,
      2,
    ],
    ['a superseded pod', new MillraceError('Fenced', 'm'), false, 1],
    ['a fault of the program', new TypeError('m'), false, 1],
    ['whatever comes while stopping', new MillraceError('InvalidSpec', 'm'), true, 1],
  ])('%s', (_, error, stopping, code) => {
    expect(exitCode(error, stopping)).toBe(code)
  })
})
