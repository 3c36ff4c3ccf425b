import { formatLSN, parseLSN } from '../../source/lsn.ts'
import type { TableName } from '../../source/table.ts'
import type { ChunkRange, LedgerBackfill, LedgerChunk, LedgerTable } from '../ledger.ts'
import type { TextRow } from './data-api.ts'

// One row of the ledger is one thing: the table, a backfill of it, or a chunk of that. What everything is decided by stands in
// columns, the rest is JSON.

export interface StoredRow {
  readonly id: string
  readonly state: string
  readonly version: bigint
  readonly facts: string
}

/** The same, as it is to be written. */
export interface RowContent {
  readonly id: string
  readonly state: string
  readonly facts: Readonly<Record<string, unknown>>
}

/** A thing, and the version that its row has. */
export interface Versioned<T> {
  readonly value: T
  readonly version: bigint
}

export const TABLE_ID = 'table'
export const backfillId = (uid: string) => `backfill ${uid}`
export const chunkPrefix = (uid: string, plan: number) => `chunk ${uid} ${plan} `
export const chunkId = (uid: string, plan: number, chunk: number) => `${chunkPrefix(uid, plan)}${chunk}`

export const ROW_COLUMNS = 'id, state, CAST(version AS VARCHAR(20)) AS version, facts'

export function toStored(row: TextRow): StoredRow {
  return {
    id: row.id ?? '',
    state: row.state ?? '',
    version: BigInt(row.version ?? '0'),
    facts: row.facts ?? '{}',
  }
}

export function tableContent(table: LedgerTable): RowContent {
  const { version: _version, state, nextOffset, position, ...rest } = table
  return {
    id: TABLE_ID,
    state,
    facts: {
      ...rest,
      nextOffset: nextOffset.toString(),
      position: { ...position, lsn: formatLSN(position.lsn) },
    },
  }
}

export function toTable({ state, version, facts }: StoredRow): LedgerTable {
  const { token: _token, ...parsed } = JSON.parse(facts)
  return {
    ...parsed,
    state: state as LedgerTable['state'],
    version,
    nextOffset: BigInt(parsed.nextOffset),
    position: { ...parsed.position, lsn: parseLSN(parsed.position.lsn) },
  } as LedgerTable
}

/** @param changedAt milliseconds since 1970 */
export function backfillContent(backfill: LedgerBackfill, changedAt: number): RowContent {
  const { version: _version, state, holdLSN, holdOffset, rows, bytes, ...rest } = backfill
  return {
    id: backfillId(backfill.uid),
    state,
    facts: {
      ...rest,
      holdLSN: formatLSN(holdLSN),
      holdOffset: holdOffset.toString(),
      rows: rows.toString(),
      bytes: bytes.toString(),
      changedAt,
    },
  }
}

export function toBackfill({ state, version, facts }: StoredRow): LedgerBackfill {
  const { token: _token, changedAt: _changedAt, ...parsed } = JSON.parse(facts)
  return {
    ...parsed,
    state: state as LedgerBackfill['state'],
    version,
    holdLSN: parseLSN(parsed.holdLSN),
    holdOffset: BigInt(parsed.holdOffset),
    rows: BigInt(parsed.rows),
    bytes: BigInt(parsed.bytes),
  } as LedgerBackfill
}

/** When the backfill's row was last written, by its writer's clock, in milliseconds since 1970. */
export function changedAt({ facts }: StoredRow): number {
  return Number(JSON.parse(facts).changedAt ?? 0)
}

/** The mark of the transaction that wrote the row last. */
export function tokenOf({ facts }: StoredRow): string | undefined {
  return JSON.parse(facts).token
}

/** @param parent chunk that it is a part of */
export function chunkContent(uid: string, plan: number, chunk: LedgerChunk, parent?: number): RowContent {
  const { chunk: number, range, state, attempt, rows, bytes } = chunk
  return {
    id: chunkId(uid, plan, number),
    state,
    facts: {
      range,
      attempt,
      rows: rows.toString(),
      bytes: bytes.toString(),
      ...(parent !== undefined && { parent }),
    },
  }
}

export function toChunk({ id, state, facts }: StoredRow): LedgerChunk {
  const { range, attempt, rows, bytes } = JSON.parse(facts)
  return {
    chunk: Number(id.slice(id.lastIndexOf(' ') + 1)),
    range: range as ChunkRange,
    state: state as LedgerChunk['state'],
    attempt,
    rows: BigInt(rows),
    bytes: BigInt(bytes),
  }
}

export function parentOf({ facts }: StoredRow): number | undefined {
  return JSON.parse(facts).parent
}

export function plannedChunk(chunk: number, range: ChunkRange): LedgerChunk {
  return { chunk, range, state: 'planned', attempt: 0, rows: 0n, bytes: 0n }
}

export function sameTable(a: TableName, b: TableName): boolean {
  return a.schema === b.schema && a.name === b.name
}
