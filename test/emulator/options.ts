/** Time in milliseconds since 1970. Tests pass their own to come to the 8 and 24 hour limits. */
export interface Clock {
  now(): number
}

export const systemClock: Clock = { now: () => Date.now() }

export const OPERATIONS = [
  'ExecuteStatement',
  'BatchExecuteStatement',
  'DescribeStatement',
  'GetStatementResult',
  'CancelStatement',
  'ListStatements',
  'ListSessions',
] as const
export type Operation = (typeof OPERATIONS)[number]

/** The quotas of the Data API. */
export interface Limits {
  /** Bytes of one statement; documented as 100 KB, taken as the smaller of the two meanings. */
  readonly statementBytes: number
  readonly batchStatements: number
  readonly parameters: number
  readonly activeStatements: number
  readonly sessions: number
  readonly sessionSeconds: number
  readonly waitSeconds: number
  /** Requests that wait for the same statement at a time; not documented. */
  readonly waitingRequests: number
  readonly rowBytes: number
  readonly resultBytes: number
  /** Bytes of one page of a result; not documented. */
  readonly pageBytes: number
  readonly statementHours: number
  readonly resultHours: number
  readonly tokenHours: number
  /** Of statements and results; past this the oldest are forgotten before their time. The emulator's own. */
  readonly keptBytes: number
  /** Requests a second, of the whole account. */
  readonly rates: Readonly<Record<Operation, number>>
}

export const DEFAULT_LIMITS: Limits = {
  statementBytes: 100_000,
  batchStatements: 40,
  parameters: 200,
  activeStatements: 500,
  sessions: 500,
  sessionSeconds: 86_400,
  waitSeconds: 30,
  waitingRequests: 10,
  rowBytes: 64 * 1024,
  resultBytes: 500 * 1024 * 1024,
  pageBytes: 1024 * 1024,
  statementHours: 24,
  resultHours: 24,
  tokenHours: 8,
  keptBytes: 1024 * 1024 * 1024,
  rates: {
    ExecuteStatement: 30,
    BatchExecuteStatement: 20,
    DescribeStatement: 100,
    GetStatementResult: 20,
    CancelStatement: 3,
    ListStatements: 3,
    ListSessions: 3,
  },
}
