import { describe, expect, it } from 'vitest'
import { isLeftOut } from './base-backup.ts'
import { quoteConnInfo, renderHba, renderSettings } from './config.ts'

describe('renderSettings', () => {
  it('lets later layers replace earlier ones', () => {
    const rendered = renderSettings({ wal_level: 'logical', port: 1 }, undefined, { port: 2 })
    expect(rendered).toBe("wal_level = 'logical'\nport = '2'\n")
  })

  it('quotes what would end a value', () => {
    expect(renderSettings({ a: "it's C:\\x" })).toBe("a = 'it''s C:\\\\x'\n")
    expect(quoteConnInfo("it's C:\\x")).toBe("'it\\'s C:\\\\x'")
  })
})

it('asks everyone for a password, on every address', () => {
  const lines = renderHba(['10.1.0.0/24']).trim().split('\n')
  expect(lines.every((line) => line.endsWith('scram-sha-256'))).toBe(true)
  expect(lines).toContain('host replication all 10.1.0.0/24 scram-sha-256')
})

it.each([
  ['base/5/2619', false],
  ['global/pg_control', false],
  ['pg_wal', false],
  ['pg_wal/archive_status', false],
  ['pg_wal/000000010000000000000001', true],
  ['pg_replslot/replica/state', true],
  ['postmaster.pid', true],
  ['base/5/pg_internal.init', true],
  ['base/pgsql_tmp/pgsql_tmp1.0', true],
])('knows whether a copy leaves out %s', (path, expected) => {
  expect(isLeftOut(path)).toBe(expected)
})
