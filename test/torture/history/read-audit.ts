import { asSuperuser } from '../../../hack/demo/site.ts'
import { AUDIT_SCHEMA, auditSlot } from './audit-sql.ts'
import type { Change, CommitEvent, LedgerEvent, ScanEvent, WriteEvent } from './events.ts'

interface LogRow {
  readonly id: number
  readonly tx: string
  readonly at: number
  readonly kind: 'write' | 'ledger'
  readonly label: string
  readonly op: string | null
  readonly old: string | null
  readonly new: string | null
  readonly context: string | null
}

const readLog = async (url: string): Promise<LogRow[]> =>
  await asSuperuser(url, async (client) => {
    const { rows } = await client.query(
      `SELECT id::float8, tx::text, extract(epoch FROM at)::float8 * 1000 AS at, kind, label, op, old, new, context
       FROM ${AUDIT_SCHEMA}.log ORDER BY id`,
    )
    return rows as LogRow[]
  })

/** What the triggers of a PostgreSQL destination saw. */
export async function readDestination(url: string): Promise<(LedgerEvent | WriteEvent)[]> {
  return (await readLog(url)).map((row): LedgerEvent | WriteEvent => {
    const { id, tx, at, label } = row
    if (row.kind === 'write') return { kind: 'write', id, tx, at, table: label, change: changeOf(row) }
    return {
      kind: 'ledger',
      id,
      tx,
      at,
      of: label as LedgerEvent['of'],
      old: row.old === null ? null : JSON.parse(row.old),
      new: row.new === null ? null : JSON.parse(row.new),
      backfill: row.context === null ? null : JSON.parse(row.context),
    }
  })
}

/** The source's transactions in commit order, with what its triggers saw. The slot is read to its end. */
export async function readSource(url: string, database: string): Promise<CommitEvent[]> {
  const log = new Map<number, LogRow[]>()
  for (const row of await readLog(url)) {
    const xid = Number(BigInt(row.tx) & 0xffffffffn)
    log.set(xid, [...(log.get(xid) ?? []), row])
  }
  const commits = await asSuperuser(url, async (client) => {
    const { rows } = await client.query<{ end: string; xid: string }>(
      `SELECT lsn::text AS "end", xid::text FROM pg_logical_slot_get_changes($1, NULL, NULL, 'skip-empty-xacts', '1')
       WHERE data LIKE 'COMMIT%'`,
      [auditSlot(database)],
    )
    return rows
  })
  return commits.flatMap(({ end, xid }) => {
    const rows = log.get(Number(xid))
    if (!rows) return []
    const changes = rows.map((row) => ({ table: row.label, change: changeOf(row) }))
    return [{ kind: 'commit', at: rows.at(-1)?.at ?? 0, end, xid: Number(xid), changes }]
  })
}

function changeOf(row: LogRow): Change {
  if (row.op === 'row') return { op: 'row', old: row.old, new: row.new }
  return { op: row.op as 'truncate' | 'create' | 'drop' }
}

/** The copies out of tables of a database that Millrace has had from a server, by what they read. */
export async function readScans(
  url: string,
  server: ScanEvent['server'],
  rootOf: (schema: string, name: string) => string | undefined,
): Promise<ScanEvent[]> {
  return await asSuperuser(url, async (client) => {
    const { rows } = await client.query<{ query: string; calls: string }>(
      `SELECT s.query, s.calls::text FROM ${AUDIT_SCHEMA}.pg_stat_statements s
       JOIN pg_database d ON d.oid = s.dbid JOIN pg_roles r ON r.oid = s.userid
       WHERE d.datname = current_database() AND r.rolname LIKE 'millrace%' AND s.query LIKE 'COPY (SELECT%'`,
    )
    return rows.flatMap(({ query, calls }) => {
      const [, schema = '', name = ''] =
        /\bFROM (?:ONLY )?"((?:[^"]|"")+)"\."((?:[^"]|"")+)"/.exec(query) ?? []
      const table = rootOf(schema.replaceAll('""', '"'), name.replaceAll('""', '"'))
      return table === undefined ? [] : [{ kind: 'scan' as const, server, table, calls: Number(calls) }]
    })
  })
}
