import { formatLSN, parseLSN } from '../../source/lsn.ts'
import type { TableName } from '../../source/table.ts'
import type {
  BackfillState,
  ChunkRange,
  DestinationAction,
  LedgerBackfill,
  LedgerChunk,
  LedgerTable,
  LedgerTableFacts,
} from '../ledger.ts'

// Between the ledger's rows, of which every value comes as PostgreSQL's text, and the port's types.

type Row = Readonly<Record<string, string | null>>

export const TABLE_COLUMNS = `pipeline, source_schema, source_table, destination_schema, destination_table, version,
  topic, incarnation, next_offset, epoch, lsn, sequence, state, stop_code, stop_message, held_by, unknown_history,
  needs_emptying, history_complete`

export function toTable(row: Row): LedgerTable {
  return {
    pipeline: text(row, 'pipeline'),
    table: { schema: text(row, 'source_schema'), name: text(row, 'source_table') },
    destination: { schema: text(row, 'destination_schema'), name: text(row, 'destination_table') },
    version: BigInt(text(row, 'version')),
    topic: text(row, 'topic'),
    incarnation: text(row, 'incarnation'),
    nextOffset: BigInt(text(row, 'next_offset')),
    position: {
      epoch: Number(text(row, 'epoch')),
      lsn: parseLSN(text(row, 'lsn')),
      sequence: Number(text(row, 'sequence')),
    },
    state: text(row, 'state') as LedgerTable['state'],
    stopCode: text(row, 'stop_code'),
    stopMessage: text(row, 'stop_message'),
    heldBy: text(row, 'held_by'),
    unknownHistory: flag(row, 'unknown_history'),
    needsEmptying: flag(row, 'needs_emptying'),
    historyComplete: flag(row, 'history_complete'),
  }
}

/** The columns that a patch of facts changes, with their values as text. */
export function factColumns(facts: Partial<LedgerTableFacts>): [column: string, value: string][] {
  const columns: [string, string | undefined][] = [
    ['topic', facts.topic],
    ['incarnation', facts.incarnation],
    ['next_offset', facts.nextOffset?.toString()],
    ['epoch', facts.position?.epoch.toString()],
    ['lsn', facts.position && formatLSN(facts.position.lsn)],
    ['sequence', facts.position?.sequence.toString()],
    ['state', facts.state],
    ['stop_code', facts.stopCode],
    ['stop_message', facts.stopMessage],
    ['held_by', facts.heldBy],
    ['unknown_history', facts.unknownHistory?.toString()],
    ['needs_emptying', facts.needsEmptying?.toString()],
    ['history_complete', facts.historyComplete?.toString()],
  ]
  return columns.filter((each): each is [string, string] => each[1] !== undefined)
}

/** Needs the query to sum up `done_rows` and `done_bytes` over the current plan's chunks. */
export function toBackfill(row: Row): LedgerBackfill {
  // Chunks do not touch the backfill's row (they would wait for each other), so its totals are their sum while it lasts.
  const totals =
    row.state === 'held'
      ? { rows: text(row, 'done_rows'), bytes: text(row, 'done_bytes') }
      : { rows: text(row, 'rows'), bytes: text(row, 'bytes') }
  return {
    uid: text(row, 'uid'),
    name: text(row, 'name'),
    table: { schema: text(row, 'source_schema'), name: text(row, 'source_table') },
    state: text(row, 'state') as BackfillState,
    action: text(row, 'action') as DestinationAction,
    version: BigInt(text(row, 'version')),
    attempt: Number(text(row, 'attempt')),
    holdLSN: parseLSN(text(row, 'hold_lsn')),
    holdOffset: BigInt(text(row, 'hold_offset')),
    actionDone: flag(row, 'action_done'),
    append: flag(row, 'append'),
    plan: Number(text(row, 'plan')),
    scan: text(row, 'scan') as LedgerBackfill['scan'],
    snapshot: text(row, 'snapshot'),
    visibility: text(row, 'visibility'),
    rows: BigInt(totals.rows),
    bytes: BigInt(totals.bytes),
    closeCode: text(row, 'close_code'),
    closeMessage: text(row, 'close_message'),
  }
}

export const CHUNK_COLUMNS = 'chunk, range, state, attempt, rows, bytes'

export function toChunk(row: Row): LedgerChunk {
  return {
    chunk: Number(text(row, 'chunk')),
    range: JSON.parse(text(row, 'range')) as ChunkRange,
    state: text(row, 'state') as LedgerChunk['state'],
    attempt: Number(text(row, 'attempt')),
    rows: BigInt(text(row, 'rows')),
    bytes: BigInt(text(row, 'bytes')),
  }
}

export function sameTable(a: TableName, b: TableName): boolean {
  return a.schema === b.schema && a.name === b.name
}

function text(row: Row, column: string): string {
  const value = row[column]
  if (value === null || value === undefined) throw new Error(`ledger: no column ${column}`)
  return value
}

function flag(row: Row, column: string): boolean {
  return text(row, column) === 't'
}
