import { describe, expect, it } from 'vitest'
import { findPartitionProblem, type Partition } from './partitions.ts'

const partition = (change: Partial<Partition> = {}): Partition => ({
  schema: 'public',
  name: 'p1',
  kind: 'r',
  persistence: 'p',
  identity: ['id'],
  primaryKey: ['id'],
  ...change,
})
const table = (...key: string[]) => ({ schema: 'public', name: 'p', key })

describe('findPartitionProblem', () => {
  it.each<[string, string[], Partial<Partition>]>([
    ['the key', ['id'], {}],
    ['more than the key', ['id'], { identity: ['id', 'u'] }],
    ['all, with a key', ['id'], { identity: 'full' }],
    ['all, without one', [], { identity: 'full' }],
  ])('accepts an identity of %s', (_, key, change) => {
    expect(findPartitionProblem(table(...key), [partition(change)])).toBeUndefined()
  })

  it.each<[string, string[], Partial<Partition>, string]>([
    ['part of the key', ['id', 'at'], {}, 'FULL'],
    ['other columns', ['id'], { identity: ['u'] }, 'DEFAULT'],
    ['other columns, without the key as primary key', ['id'], { identity: ['u'], primaryKey: ['u'] }, 'FULL'],
    ['nothing', ['id'], { identity: [], primaryKey: undefined }, 'FULL'],
    ['a key that the table has not', [], {}, 'FULL'],
  ])('refuses one of %s, with the cure', (_, key, change, cure) => {
    const partitions = [partition({ name: 'p0', identity: 'full' }), partition(change)]
    expect(findPartitionProblem(table(...key), partitions)).toMatchObject({
      code: 'NoReplicaIdentity',
      message: expect.stringMatching(`public.p1 .* run ALTER TABLE "public"."p1" REPLICA IDENTITY ${cure}$`),
    })
  })

  it('says how many more there are', () => {
    const partitions = ['a', 'b', 'c'].map((name) => partition({ name }))
    expect(findPartitionProblem(table(), partitions)?.message).toContain('public.a (and 2 more like it)')
  })
})
