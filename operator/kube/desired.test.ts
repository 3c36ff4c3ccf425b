import { describe, expect, it } from 'vitest'
import { classifyChild, isApplied, withHash } from './desired.ts'

describe('isApplied', () => {
  it.each<[string, object, object, boolean]>([
    ['the same', { a: 1 }, { a: 1 }, true],
    ['defaults that the server added', { spec: { a: 1 } }, { spec: { a: 1, b: 2 }, status: {} }, true],
    ['another value', { spec: { a: 1 } }, { spec: { a: 2 } }, false],
    ['a missing field', { spec: { a: { b: 1 } } }, { spec: {} }, false],
    ['list items with defaults', { list: [{ name: 'x' }] }, { list: [{ name: 'x', port: 1 }] }, true],
    ['a list item more', { list: [{ name: 'x' }] }, { list: [{ name: 'x' }, { name: 'y' }] }, false],
    ['what is wanted empty', { a: { b: {} } }, { a: {} }, true],
    ['what is wanted undefined', { a: undefined }, {}, true],
    [
      'a quantity in other words',
      { resources: { limits: { cpu: '0.5' } } },
      { resources: { limits: { cpu: '500m' } } },
      true,
    ],
    [
      'bytes in other words',
      { resources: { limits: { memory: '1024Mi' } } },
      { resources: { limits: { memory: '1Gi' } } },
      true,
    ],
    [
      'another quantity',
      { resources: { limits: { memory: '1G' } } },
      { resources: { limits: { memory: '1Gi' } } },
      false,
    ],
    [
      'what looks like a quantity elsewhere',
      { labels: { size: '1024Mi' } },
      { labels: { size: '1Gi' } },
      false,
    ],
  ])('%s', (_, desired, live, expected) => {
    expect(isApplied(desired, live)).toBe(expected)
  })

  it('sees that a field is no longer wanted', () => {
    const object = (spec: object) => withHash({ metadata: { name: 'x' }, spec })
    const live = object({ a: 1, b: 2 })
    expect(isApplied(object({ a: 1, b: 2 }), live)).toBe(true)
    expect(isApplied(object({ a: 1 }), live)).toBe(false)
  })
})

describe('classifyChild', () => {
  const owner = { kind: 'Pipeline', metadata: { name: 'p', uid: '1' } }
  const child = (...ownerReferences: object[]) => ({ metadata: { name: 'c', ownerReferences } })
  it.each([
    ['ours', child({ kind: 'Pipeline', name: 'p', uid: '1', controller: true })],
    ['orphan', child({ kind: 'Pipeline', name: 'p', uid: '0', controller: true })],
    ['foreign', child({ kind: 'Pipeline', name: 'q', uid: '2', controller: true })],
    ['foreign', child({ kind: 'Pipeline', name: 'p', uid: '1', controller: false })],
    ['foreign', child()],
  ])('%s', (expected, object) => {
    expect(classifyChild(object, owner)).toBe(expected)
  })
})
