import { describe, expect, it } from 'vitest'
import type { Pipeline } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { inTurn } from './server.ts'
import { chooseServer, copySettings } from './settings.ts'

const pipeline = (entry: object = {}, backfill: object = {}) =>
  ({
    metadata: { name: 'one' },
    spec: {
      destination: { postgres: { schema: 'raw' } },
      tables: [
        { schema: 'public', name: 'other' },
        { schema: 'public', name: 'orders', ...entry },
      ],
      backfill: { parallelism: 5, chunkRows: 100_000, scan: 'Auto', ...backfill },
      apply: { deletes: 'Soft' },
    },
  }) as unknown as Pipeline
const backfill = (own: object = {}, table = 'orders') =>
  ({
    spec: { table: { schema: 'public', name: table }, destinationTable: 'Truncate', backfill: own },
  }) as unknown as TableBackfill

describe('copySettings', () => {
  it('takes what stands nearest', () => {
    expect(copySettings(pipeline(), backfill())).toEqual({
      table: { schema: 'public', name: 'orders' },
      field: 'spec.tables[1]',
      filter: undefined,
      target: { schema: 'raw', name: 'orders' },
      options: { deletes: 'Soft' },
      action: 'Truncate',
      parallelism: 5,
      chunkRows: 100_000,
      scan: { value: 'Auto', field: 'spec.backfill.scan', fixed: false },
      readFrom: { value: undefined, field: 'spec.backfill.readFrom', fixed: false },
    })
    const entry = {
      backfill: { parallelism: 3, scan: 'Key', readFrom: 'Primary' },
      columns: { exclude: ['a'] },
    }
    expect(copySettings(pipeline(entry), backfill({ parallelism: 1, scan: 'Ctid' }))).toMatchObject({
      filter: { exclude: ['a'] },
      parallelism: 1,
      chunkRows: 100_000,
      scan: { value: 'Ctid', field: 'spec.backfill.scan', fixed: true },
      readFrom: { value: 'Primary', field: 'spec.tables[1].backfill.readFrom', fixed: false },
    })
    expect(copySettings(pipeline({ columns: { include: ['a'] } }), backfill()).filter).toEqual({
      include: ['a'],
    })
  })

  it('refuses a table that the Pipeline does not list, until it does', () => {
    expect(() => copySettings(pipeline(), backfill({}, 'gone'))).toThrow(
      expect.objectContaining({ code: 'InvalidSpec', retryable: true, field: 'spec.table' }),
    )
  })
})

describe('chooseServer', () => {
  const keyed = { key: ['id'], replicaIdentity: 'default' }
  const keyless = { key: [], replicaIdentity: 'full' }
  const wish = (
    value: 'Replica' | 'Primary' | undefined,
    action: 'DoNothing' | 'Truncate' = 'DoNothing',
  ) => ({
    table: { schema: 'public', name: 't' },
    action,
    readFrom: { value, field: 'spec.backfill.readFrom', fixed: false },
  })
  it.each([
    [wish(undefined), keyed, 0, 'Primary'],
    [wish(undefined), keyed, 1, 'Replica'],
    [wish('Primary'), keyed, 1, 'Primary'],
    [wish('Replica'), keyed, 1, 'Replica'],
    [wish(undefined, 'Truncate'), keyless, 1, 'Primary'],
    [wish('Primary', 'Truncate'), keyless, 0, 'Primary'],
  ] as const)('%j, %j, %i replicas: %s', (settings, definition, replicas, expected) => {
    expect(chooseServer(settings, definition, replicas)).toBe(expected)
  })

  it.each([
    [wish('Replica'), keyed, 0, 'InvalidSpec', /^spec\.backfill\.readFrom: Replica needs a replica/],
    [
      wish('Replica', 'Truncate'),
      keyless,
      1,
      'NoUsableKey',
      /^spec\.backfill\.readFrom: .* set readFrom to Primary$/,
    ],
    [wish(undefined), keyless, 1, 'NoUsableKey', /^spec\.destinationTable: .* Truncate or Drop$/],
    [
      wish(undefined, 'Truncate'),
      { ...keyless, replicaIdentity: 'index' },
      1,
      'NoUsableKey',
      /^spec\.table: .* REPLICA IDENTITY FULL$/,
    ],
  ] as const)('%j, %j, %i replicas: %s', (settings, definition, replicas, code, message) => {
    expect(() => chooseServer(settings, definition, replicas)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    )
  })
})

describe('inTurn', () => {
  it('keeps all replicas, and begins with each of them for some backfill', () => {
    const firsts = new Set<string | undefined>()
    for (let i = 0; i < 50; i += 1) {
      const turned = inTurn(['a', 'b', 'c'], `uid-${i}`)
      expect(turned.toSorted()).toEqual(['a', 'b', 'c'])
      firsts.add(turned[0])
    }
    expect(firsts.size).toBe(3)
    expect(inTurn([], 'uid')).toEqual([])
  })
})
