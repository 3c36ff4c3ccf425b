/** A system view whose rows the emulator keeps in memory, as Redshift keeps them outside of all transactions. */
export interface LiveView {
  readonly columns: readonly (readonly [name: string, type: string])[]
  readonly rows: readonly (readonly unknown[])[]
}

export interface LoadRecord {
  readonly queryId: number
  readonly pid: number
  readonly transaction: number
  readonly database: string
  readonly schema: string
  readonly table: string
  readonly source: string
  readonly format: string
  readonly status: 'completed' | 'failed' | 'aborted'
  readonly start: Date
  readonly end: Date
  readonly rows: number
  readonly bytes: number
  readonly files: number
  readonly fileBytes: number
  readonly errors: number
}

export interface LoadError {
  readonly queryId: number
  readonly pid: number
  readonly table: number
  readonly tableName: string
  readonly database: string
  readonly time: Date
  readonly file: string
  /** Line in the file, from 1. */
  readonly line: number
  readonly column: string
  readonly columnType: string
  readonly columnLength: string
  readonly position: number
  readonly rawLine: string
  readonly rawField: string
  readonly code: number
  readonly reason: string
}

export interface QueryRecord {
  readonly queryId: number
  readonly uuid: string
  readonly pid: number
  readonly user: string
  readonly database: string
  readonly text: string
  readonly start: Date
  end: Date | undefined
  status: string
  rows: number
  error: string
}

/** What happened lately, for the system views that tell of it. */
export interface History {
  load(record: LoadRecord): void
  loadErrors(errors: readonly LoadError[]): void
  query(record: QueryRecord): void
  view(name: string): LiveView | undefined
}

const KEPT = 1000
const time = (date: Date | undefined) => date?.toISOString().replace('T', ' ').replace('Z', '')
const micros = (start: Date, end: Date | undefined) =>
  ((end ?? new Date()).getTime() - start.getTime()) * 1000

export function createHistory(options: {
  slices: number
  sessions: () => readonly { pid: number; user: string; database: string }[]
}): History {
  const loads: LoadRecord[] = []
  const errors: LoadError[] = []
  const queries: QueryRecord[] = []
  const keep = <T>(list: T[], items: readonly T[]) => {
    list.push(...items)
    if (list.length > KEPT) list.splice(0, list.length - KEPT)
  }
  const running = () => queries.filter(({ end }) => end === undefined)
  const views: Record<string, () => LiveView> = {
    sys_load_history: () => ({ columns: LOAD_HISTORY, rows: loads.map(loadRow) }),
    sys_load_error_detail: () => ({ columns: LOAD_ERROR_DETAIL, rows: errors.map(errorDetailRow) }),
    stl_load_errors: () => ({ columns: STL_LOAD_ERRORS, rows: errors.map(stlErrorRow) }),
    sys_query_history: () => ({ columns: QUERY_HISTORY, rows: queries.map(queryRow) }),
    stv_inflight: () => ({
      columns: [
        ['userid', 'integer'],
        ['slice', 'integer'],
        ['query', 'integer'],
        ['label', 'bpchar'],
        ['xid', 'bigint'],
        ['pid', 'integer'],
        ['starttime', 'timestamp'],
        ['text', 'bpchar'],
        ['suspended', 'integer'],
      ],
      rows: running().map((q) => [
        100,
        0,
        q.queryId,
        'default',
        q.queryId,
        q.pid,
        time(q.start),
        q.text.slice(0, 100),
        0,
      ]),
    }),
    stv_recents: () => ({
      columns: [
        ['userid', 'integer'],
        ['status', 'bpchar'],
        ['starttime', 'timestamp'],
        ['duration', 'integer'],
        ['user_name', 'bpchar'],
        ['db_name', 'bpchar'],
        ['query', 'bpchar'],
        ['pid', 'integer'],
      ],
      rows: queries.map((q) => [
        100,
        q.end ? 'Done' : 'Running',
        time(q.start),
        micros(q.start, q.end),
        q.user,
        q.database,
        q.text.slice(0, 600),
        q.pid,
      ]),
    }),
    stv_sessions: () => ({
      columns: [
        ['starttime', 'timestamp'],
        ['process', 'integer'],
        ['user_name', 'bpchar'],
        ['db_name', 'bpchar'],
      ],
      rows: options.sessions().map(({ pid, user, database }) => [null, pid, user, database]),
    }),
    stv_slices: () => ({
      columns: [
        ['node', 'integer'],
        ['slice', 'integer'],
        ['localslice', 'integer'],
        ['type', 'bpchar'],
      ],
      rows: Array.from({ length: options.slices }, (_, slice) => [0, slice, slice, 'D']),
    }),
  }
  return {
    load: (record) => keep(loads, [record]),
    loadErrors: (more) => keep(errors, more),
    query: (record) => keep(queries, [record]),
    view: (name) => views[name]?.(),
  }
}

const LOAD_HISTORY = [
  ['user_id', 'integer'],
  ['query_id', 'bigint'],
  ['transaction_id', 'bigint'],
  ['session_id', 'integer'],
  ['database_name', 'bpchar'],
  ['status', 'bpchar'],
  ['table_name', 'bpchar'],
  ['start_time', 'timestamp'],
  ['end_time', 'timestamp'],
  ['duration', 'bigint'],
  ['data_source', 'bpchar'],
  ['file_format', 'bpchar'],
  ['loaded_rows', 'bigint'],
  ['loaded_bytes', 'bigint'],
  ['source_file_count', 'integer'],
  ['source_file_bytes', 'bigint'],
  ['file_count_scanned', 'integer'],
  ['file_bytes_scanned', 'bigint'],
  ['error_count', 'bigint'],
] as const
const loadRow = (l: LoadRecord) => [
  100,
  l.queryId,
  l.transaction,
  l.pid,
  l.database,
  l.status,
  l.table,
  time(l.start),
  time(l.end),
  micros(l.start, l.end),
  l.source,
  l.format,
  l.rows,
  l.bytes,
  l.files,
  l.fileBytes,
  l.files,
  l.fileBytes,
  l.errors,
]

const LOAD_ERROR_DETAIL = [
  ['user_id', 'integer'],
  ['query_id', 'bigint'],
  ['transaction_id', 'bigint'],
  ['session_id', 'integer'],
  ['database_name', 'bpchar'],
  ['table_id', 'integer'],
  ['start_time', 'timestamp'],
  ['file_name', 'bpchar'],
  ['line_number', 'bigint'],
  ['column_name', 'bpchar'],
  ['column_type', 'bpchar'],
  ['column_length', 'bpchar'],
  ['position', 'integer'],
  ['error_code', 'integer'],
  ['error_message', 'bpchar'],
] as const
const errorDetailRow = (e: LoadError) => [
  100,
  e.queryId,
  e.queryId,
  e.pid,
  e.database,
  e.table,
  time(e.time),
  e.file,
  e.line,
  e.column,
  e.columnType,
  e.columnLength,
  e.position,
  e.code,
  e.reason,
]

const STL_LOAD_ERRORS = [
  ['userid', 'integer'],
  ['slice', 'integer'],
  ['tbl', 'integer'],
  ['starttime', 'timestamp'],
  ['session', 'integer'],
  ['query', 'integer'],
  ['filename', 'bpchar'],
  ['line_number', 'bigint'],
  ['colname', 'bpchar'],
  ['type', 'bpchar'],
  ['col_length', 'bpchar'],
  ['position', 'integer'],
  ['raw_line', 'bpchar'],
  ['raw_field_value', 'bpchar'],
  ['err_code', 'integer'],
  ['err_reason', 'bpchar'],
] as const
const stlErrorRow = (e: LoadError) => [
  100,
  0,
  e.table,
  time(e.time),
  e.pid,
  e.queryId,
  e.file,
  e.line,
  e.column,
  e.columnType,
  e.columnLength,
  e.position,
  e.rawLine,
  e.rawField,
  e.code,
  e.reason,
]

const QUERY_HISTORY = [
  ['user_id', 'integer'],
  ['query_id', 'bigint'],
  ['query_uuid', 'bpchar'],
  ['session_id', 'integer'],
  ['database_name', 'bpchar'],
  ['query_type', 'bpchar'],
  ['status', 'bpchar'],
  ['start_time', 'timestamp'],
  ['end_time', 'timestamp'],
  ['elapsed_time', 'bigint'],
  ['error_message', 'bpchar'],
  ['returned_rows', 'bigint'],
  ['query_text', 'bpchar'],
] as const
const queryRow = (q: QueryRecord) => [
  100,
  q.queryId,
  q.uuid,
  q.pid,
  q.database,
  q.text.trim().split(/\s/, 1)[0]?.toUpperCase(),
  q.status,
  time(q.start),
  time(q.end),
  micros(q.start, q.end),
  q.error,
  q.rows,
  q.text.slice(0, 4000),
]
