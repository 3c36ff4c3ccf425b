import { describe, expect, it } from 'vitest'
import { operatorFailpoints, randomFailpoints } from './failpoints.ts'
import { createRandom } from './random.ts'
import { randomTables, warehouseTables } from './tables.ts'
import { statement } from './workload.ts'

const LABELS = { 'app.kubernetes.io/component': 'apply' }

const statements = (seed: string) => {
  const random = createRandom(seed)
  const tables = [...randomTables(random, 5, true), ...warehouseTables(random, 3)]
  return Array.from({ length: 400 }, () => {
    const table = random.pick(tables)
    return { table, sql: statement(random, table) }
  })
}

describe('a schedule', () => {
  it('is decided by its seed', () => {
    const sql = (seed: string) => statements(seed).map((each) => each.sql)
    expect(sql('7')).toEqual(sql('7'))
    expect(sql('7')).not.toEqual(sql('8'))
  })

  it('gives each row that it writes a revision of its own, so that no version of it comes twice', () => {
    for (const { table, sql } of statements('9')) {
      if (table.keyless || sql.startsWith('DELETE')) continue
      for (const part of sql.split('; ')) expect(part).toContain(`nextval('torture.revision')`)
    }
  })

  it('meets the same failpoints when it runs again, whatever runs beside it', () => {
    const alone = randomFailpoints()
    const beside = randomFailpoints()
    const pods = Array.from({ length: 20 }, () => {
      beside(LABELS, 'site-torture-2')
      return [alone(LABELS, 'site-torture-1'), beside(LABELS, 'site-torture-1')]
    })
    for (const [a, b] of pods) expect(a).toEqual(b)
    expect(pods.some(([a]) => a?.MILLRACE_FAILPOINTS !== undefined)).toBe(true)
    expect(operatorFailpoints('1')).toEqual(operatorFailpoints('1'))
  })
})
