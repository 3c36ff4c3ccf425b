import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ChunkRange } from '../../workers/destination/ledger.ts'
import { readTableDefinition } from '../../workers/source/catalog.ts'
import { type Connection, openConnection } from '../../workers/source/connect.ts'
import { readScanFacts, readSortOrders } from '../../workers/source/scan-facts.ts'
import { keyRanges } from '../../workers/source/scan-plan.ts'
import {
  boundariesQuery,
  keyColumns,
  rangeBounds,
  rangeCondition,
  setBounds,
} from '../../workers/source/scan-sql.ts'
import type { TableDefinition } from '../../workers/source/table.ts'
import { targetOf } from './postgres-target.ts'
import { createDatabase } from './services.ts'

let connection: Connection

beforeAll(async () => {
  const { url } = await createDatabase('scan')
  connection = await openConnection(targetOf(url), { purpose: 'scan', signal: new AbortController().signal })
  // The order on disk has nothing to do with that of the keys.
  await connection.query(`
    CREATE TABLE public.scattered (a int, b uuid, id bigint UNIQUE NOT NULL, note text, PRIMARY KEY (a, b));
    INSERT INTO public.scattered SELECT i % 7, md5(i::text)::uuid, i, 'note' FROM generate_series(1, 300000) i;
    ANALYZE public.scattered`)
})
afterAll(() => connection.close())

const define = (name: string) =>
  readTableDefinition(connection, { schema: 'public', name }, { field: 'spec.tables[0]' })
const asItIs = (_column: unknown, source: string) => source

/** The plan of reading a range, as PostgreSQL makes it. */
async function explain(range: ChunkRange): Promise<string> {
  const condition = rangeCondition(range, keyColumns(await define('scattered')))
  await connection.query('BEGIN')
  const bounds = setBounds(rangeBounds(range))
  if (bounds) await connection.query(bounds.text, bounds.values)
  const rows = await connection.query(`EXPLAIN SELECT note FROM ONLY public.scattered WHERE ${condition}`)
  await connection.query('ROLLBACK')
  return rows.map((row) => row['QUERY PLAN']).join('\n')
}

describe('a range', () => {
  it('of a composite key is read by its index, in both directions', async () => {
    const plan = await explain({
      kind: 'key',
      from: ['3', '00000000-0000-0000-0000-000000000000'],
      to: ['3', '04000000-0000-0000-0000-000000000000'],
    })
    expect(plan).toMatch(/Index Cond: \(\(ROW\(a, b\) >= .*\) AND \(ROW\(a, b\) < /)
  })

  it('of blocks is read alone', async () => {
    const leaf = { schema: 'public', name: 'scattered' }
    const plan = await explain({ kind: 'ctid', leaf, filenode: '1', fromBlock: 10, toBlock: 50 })
    expect(plan).toMatch(/^Tid Range Scan on scattered .*rows=\d{4} /)
  })
})

describe('the bounds of parts', () => {
  it.each([true, false])('cut a scattered table evenly; from a sample: %s', async (sampled) => {
    const definition = await define('scattered')
    const rows = await connection.query(boundariesQuery(definition, sampled), [
      '10',
      ...(sampled ? ['60'] : []),
    ])
    expect(rows).toHaveLength(9)
    const cuts = rows.map((row) => `(${row.k1}, '${row.k2}'::uuid)`).join(', ')
    const parts = await connection.query(
      `SELECT (SELECT count(*) FROM (VALUES ${cuts}) AS c (a, b) WHERE (c.a, c.b) <= (t.a, t.b)) AS part, count(*) AS n
       FROM public.scattered t GROUP BY 1`,
    )
    expect(parts).toHaveLength(10)
    for (const { n } of parts) {
      expect(Number(n)).toBeGreaterThan(24_000)
      expect(Number(n)).toBeLessThan(36_000)
    }
  })
})

describe('the ranges of a key', () => {
  // Nothing has these numbers; 0 is written as a dash, and the table's own as its name.
  const objects = `(VALUES (0), (4294967294), (4294967295), ('public.odd'::regclass::oid)) AS o (oid)`
  it.each(['regclass', 'public.object'])(
    'of type %s hold each row once, whatever it points to',
    async (type) => {
      await connection.query('CREATE DOMAIN public.object AS regclass')
      try {
        await withTable(`id ${type} PRIMARY KEY)`, async (definition) => {
          await connection.query(`INSERT INTO public.odd SELECT oid::regclass FROM ${objects}`)
          const bounds = await connection.query(boundariesQuery(definition, false), ['4'])
          expect(bounds.map((row) => row.k1)).toEqual(['public.odd', '4294967294', '4294967295'])
          const found: string[] = []
          for (const range of keyRanges([['-'], ...bounds.map((row) => [String(row.k1)])])) {
            found.push(await rowsOf(range, definition))
          }
          expect(found).toEqual(['', '-', 'public.odd', '4294967294', '4294967295'])
        })
      } finally {
        await connection.query('DROP DOMAIN public.object')
      }
    },
  )
})

describe('what is known about a table', () => {
  it('is its size, its files and how well its key is ordered', async () => {
    const definition = await define('scattered')
    const facts = await readScanFacts(
      connection,
      definition,
      asItIs,
      await readSortOrders(connection, definition),
    )
    expect(facts.rows).toBeGreaterThan(290_000)
    expect(facts.rows).toBeLessThan(310_000)
    expect(facts.correlation).toBeLessThan(0.5)
    expect(facts.keyProblem).toBeUndefined()
    expect(facts.leaves).toMatchObject([{ schema: 'public', name: 'scattered', heap: true }])
    expect(facts.leaves[0]?.filenode).toMatch(/^\d+$/)
    expect(facts.bytes).toBeGreaterThan((facts.leaves[0]?.blocks ?? 0) * 8192 - 1)
  })

  const byIndex = (column: string) =>
    `id text NOT NULL); CREATE UNIQUE INDEX i ON public.odd (${column}); ALTER TABLE public.odd REPLICA IDENTITY USING INDEX i`
  it.each<[columns: string, orders: string, problem: RegExp | undefined]>([
    ['id text COLLATE "C" PRIMARY KEY)', 'id: none', undefined],
    ['id text COLLATE "en-x-icu" PRIMARY KEY)', 'id: \\d[\\d.]*', undefined],
    ['a int, id text, PRIMARY KEY (a, id))', 'id: .+', undefined],
    [byIndex('id'), 'id: .+', undefined],
    [
      byIndex('id text_pattern_ops'),
      'id: .+',
      /^the key's columns id are not compared by PostgreSQL's own operators/,
    ],
    [byIndex('id COLLATE "POSIX"'), 'id: .+', /^the key's columns id are not compared/],
  ])('and whether its key can be read in order: %s', async (columns, orders, problem) => {
    await withTable(columns, async (definition) => {
      const found = await readSortOrders(connection, definition)
      expect(found).toMatch(new RegExp(`^${orders}$`))
      const { keyProblem } = await readScanFacts(connection, definition, asItIs, found)
      expect(keyProblem).toEqual(problem && expect.stringMatching(problem))
    })
  })

  it('and that text sorts otherwise on another server', async () => {
    await withTable('id text COLLATE "en-x-icu" PRIMARY KEY)', async (definition) => {
      const { keyProblem } = await readScanFacts(connection, definition, asItIs, 'id: 0.1')
      expect(keyProblem).toMatch(
        /sorts differently on this server than on the primary \(collation versions here id: [\d.]+; there id: 0\.1\)$/,
      )
    })
  })
})

/** The keys of the rows in a range. */
async function rowsOf(range: ChunkRange, definition: TableDefinition): Promise<string> {
  const bounds = setBounds(rangeBounds(range))
  await connection.query('BEGIN')
  try {
    if (bounds) await connection.query(bounds.text, bounds.values)
    const condition = rangeCondition(range, keyColumns(definition))
    const rows = await connection.query(`SELECT id::text FROM public.odd WHERE ${condition}`)
    return rows.map((row) => row.id).join(', ')
  } finally {
    await connection.query('ROLLBACK')
  }
}

async function withTable(
  columns: string,
  work: (definition: TableDefinition) => Promise<void>,
): Promise<void> {
  await connection.query(`CREATE TABLE public.odd (${columns}`)
  try {
    await work(await define('odd'))
  } finally {
    await connection.query('DROP TABLE public.odd')
  }
}
