import { describe, expect, it } from 'vitest'
import type { PipelineSpec } from '../../crds/pipeline.ts'
import { chooseKey, literalText } from './catalog.ts'
import { filterColumns } from './columns.ts'
import { formatLSN, parseLSN } from './lsn.ts'
import { defaultName, publicationName, slotName } from './names.ts'
import { comparePositions } from './position.ts'
import { sessionOptions, sessionSettings } from './session.ts'
import { tableLabel } from './table.ts'
import { destinationTarget, replicaTargets, sourceTarget } from './targets.ts'
import { describeTransactions, type OpenTransaction } from './writers.ts'

describe('defaultName', () => {
  it.each([
    ['prod', 'shop', 'millrace_prod_shop'],
    ['prod', 'shop2', 'millrace_prod_shop2'],
  ])('%s/%s is %s', (namespace, name, expected) => {
    expect(defaultName(namespace, name)).toBe(expected)
  })

  it('never gives two Pipelines one name', () => {
    const pairs = [
      ['a-b', 'c'],
      ['a', 'b-c'],
      ['a', 'b.c'],
      ['a'.repeat(63), 'b'.repeat(253)],
      ['a'.repeat(63), 'b'.repeat(252)],
    ] as const
    const names = pairs.map(([namespace, name]) => defaultName(namespace, name))
    expect(new Set(names).size).toBe(pairs.length)
    for (const name of names) expect(name).toMatch(/^[a-z0-9_]{1,63}$/)
  })

  it('gives way to the spec', () => {
    const spec = { source: { postgres: { slot: 's' } } } as PipelineSpec
    expect(slotName(spec, 'n', 'p')).toBe('s')
    expect(publicationName(spec, 'n', 'p')).toBe('millrace_n_p')
  })
})

describe('chooseKey', () => {
  const index = (columns: string[], primary = false, replicaIdentity = false) => ({
    columns,
    primary,
    replicaIdentity,
  })

  it.each([
    ['the primary key', 'default', [index(['u']), index(['id'], true)], ['id']],
    ['nothing without a primary key, since deletes would carry nothing', 'default', [index(['u'])], []],
    ['the index that was chosen', 'index', [index(['id'], true), index(['u'], false, true)], ['u']],
    ['nothing when the chosen index is gone', 'index', [index(['id'], true)], []],
    ['the primary key with identity full', 'full', [index(['u']), index(['id'], true)], ['id']],
    ['any unique index with identity full', 'full', [index(['u'])], ['u']],
    ['nothing with identity full and no index', 'full', [], []],
  ] as const)('is %s', (_, identity, indexes, expected) => {
    expect(chooseKey(identity, indexes)).toEqual(expected)
  })
})

describe('literalText', () => {
  it.each([
    ["'it''s'::text", "it's"],
    ["'x'::character varying", 'x'],
    ["'{}'::jsonb", '{}'],
    ["'2026-01-01'::date", '2026-01-01'],
    ["'ok'::public.mood", 'ok'],
    ['7', '7'],
    ["'-7'::integer", '-7'],
    ['(-1.50)', '-1.50'],
    ['true', 't'],
    ['false', 'f'],
    ['now()', undefined],
    ["nextval('s'::regclass)", undefined],
    ["('a'::text || 'b'::text)", undefined],
    ["'a'::text || 'b'::text", undefined],
    ["E'\\\\n'::text", undefined],
    ['NULL::text', undefined],
    ['', undefined],
  ])('%s is %s', (expression, expected) => {
    expect(literalText(expression)).toBe(expected)
  })
})

describe('filterColumns', () => {
  const columns = ['id', 'a', 'b'].map((name) => ({ name }))
  const filter = (filter: object) =>
    filterColumns({ schema: 's', name: 't' }, columns, ['id'], filter, 'spec.tables[0]').map(
      (one) => one.name,
    )

  it('keeps the order of the table', () => {
    expect(filter({ include: ['b', 'id'] })).toEqual(['id', 'b'])
    expect(filter({ exclude: ['a', 'unknown'] })).toEqual(['id', 'b'])
  })

  it('refuses to lose the key or to include what is not there', () => {
    expect(() => filter({ include: ['a'] })).toThrow(/spec\.tables\[0\]\.columns\.include.*"id"/)
    expect(() => filter({ exclude: ['id'] })).toThrow(/spec\.tables\[0\]\.columns\.exclude.*"id"/)
    expect(() => filter({ include: ['id', 'z'] })).toThrow(/no column "z"/)
  })
})

describe('sessions', () => {
  it('have the same text for the same value, whatever they are for', () => {
    const text = [
      'client_encoding',
      'DateStyle',
      'IntervalStyle',
      'TimeZone',
      'extra_float_digits',
      'bytea_output',
    ]
    for (const name of [...text, 'lc_monetary', 'xmlbinary', 'search_path']) {
      const values = (['query', 'scan', 'load', 'replication'] as const).map(
        (purpose) => sessionSettings(purpose)[name],
      )
      expect(new Set(values).size, name).toBe(1)
      expect(values[0]).toBeDefined()
    }
  })

  it('escape blanks in the options of the startup packet', () => {
    expect(sessionOptions('scan')).toContain('-c default_transaction_isolation=read\\ committed ')
  })
})

describe('targets', () => {
  const credentialsSecretRef = { name: 's', usernameKey: 'username', passwordKey: 'password' }
  const postgres = {
    host: 'h',
    port: 1,
    database: 'd',
    sslMode: 'VerifyFull' as const,
    credentialsSecretRef,
    caSecretRef: { name: 'c', key: 'ca.crt' },
    heartbeatSeconds: 10,
    replicas: [
      { host: 'r0', port: 2 },
      { host: 'r1', port: 3, credentialsSecretRef },
    ],
  }
  const secrets = { read: async () => '' }

  it('name the spec field and the mounted Secret', () => {
    const spec = { source: { postgres } } as unknown as PipelineSpec
    expect(sourceTarget(spec, secrets, 'capture')).toMatchObject({
      host: 'h',
      field: 'spec.source.postgres',
      credentials: { mount: 'source' },
      ca: { mount: 'source-ca' },
    })
    expect(replicaTargets(spec, secrets, 'backfill')).toMatchObject([
      {
        host: 'r0',
        sslMode: 'VerifyFull',
        field: 'spec.source.postgres.replicas[0]',
        credentials: { mount: 'source' },
      },
      {
        host: 'r1',
        credentials: { mount: 'replica-1', field: 'spec.source.postgres.replicas[1].credentialsSecretRef' },
      },
    ])
    const { caSecretRef: _, replicas: __, heartbeatSeconds: ___, ...bare } = postgres
    expect(destinationTarget({ ...bare, ledgerSchema: 'millrace' }, secrets, 'apply')).toMatchObject({
      field: 'spec.destination.postgres',
      credentials: { mount: 'destination' },
      ca: undefined,
    })
  })
})

describe('small things', () => {
  it('LSNs go through text and back', () => {
    expect(parseLSN('16/B374D848')).toBe(0x16_b374_d848n)
    expect(formatLSN(0x16_b374_d848n)).toBe('16/B374D848')
    expect(formatLSN(0xffff_ffff_ffff_ffffn)).toBe('FFFFFFFF/FFFFFFFF')
    expect(() => parseLSN('1/2/3')).toThrow()
    expect(() => parseLSN('')).toThrow()
  })

  it('positions are ordered as numbers', () => {
    const at = (epoch: number, lsn: bigint, sequence: number) => ({ epoch, lsn, sequence })
    expect(comparePositions(at(1, 0x1_0000_0000n, 0), at(1, 0xffff_ffffn, 9))).toBeGreaterThan(0)
    expect(comparePositions(at(2, 1n, 0), at(1, 9n, 9))).toBeGreaterThan(0)
    expect(comparePositions(at(1, 1n, 10), at(1, 1n, 9))).toBeGreaterThan(0)
    expect(comparePositions(at(1, 1n, 9), at(1, 1n, 9))).toBe(0)
  })

  it('labels quote only what could mislead', () => {
    expect(tableLabel({ schema: 'public', name: 'orders' })).toBe('public.orders')
    expect(tableLabel({ schema: 'a.b', name: 'C d' })).toBe('"a.b"."C d"')
  })

  it('transactions are named, but not all of many', () => {
    const open = (pid: number): OpenTransaction => ({
      id: String(pid),
      pid,
      user: 'u',
      application: '',
      prepared: undefined,
    })
    expect(describeTransactions([{ ...open(1), prepared: 'gid' }])).toBe("prepared transaction 'gid'")
    expect(describeTransactions([1, 2, 3, 4, 5, 6, 7].map(open))).toMatch(/pid 5 \(user u\) and 2 more$/)
  })
})
