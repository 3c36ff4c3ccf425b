import type { Limits } from '../options.ts'
import { validation } from './errors.ts'

export interface SqlParameter {
  readonly name: string
  readonly value: string
}

/** Where statements go, and as whom. */
export interface Target {
  readonly clusterIdentifier: string | undefined
  readonly workgroupName: string | undefined
  readonly database: string
  readonly dbUser: string | undefined
  readonly secretArn: string | undefined
}

export interface ExecuteRequest {
  readonly batch: boolean
  readonly sqls: readonly string[]
  readonly parameters: readonly SqlParameter[]
  /** Undefined when the request names a session. */
  readonly target: Target | undefined
  readonly sessionId: string | undefined
  readonly keepAliveSeconds: number | undefined
  readonly statementName: string | undefined
  readonly clientToken: string | undefined
  readonly mode: 'TRANSACTION' | 'AUTO_COMMIT'
  readonly waitSeconds: number
}

type Body = Readonly<Record<string, unknown>>

const failed = (member: string, constraint: string) =>
  validation(`1 validation error detected: Value at '${member}' failed to satisfy constraint: ${constraint}`)

const lowerFirst = (name: string) => name.charAt(0).toLowerCase() + name.slice(1)

export function optionalString(body: Body, name: string, max = 100_000, min = 1): string | undefined {
  const value = body[name]
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'string') throw failed(lowerFirst(name), 'Member must be a string')
  if (value.length < min) {
    throw failed(lowerFirst(name), `Member must have length greater than or equal to ${min}`)
  }
  if (value.length > max)
    throw failed(lowerFirst(name), `Member must have length less than or equal to ${max}`)
  return value
}

export function requiredString(body: Body, name: string): string {
  const value = optionalString(body, name)
  if (value === undefined) throw failed(lowerFirst(name), 'Member must not be null')
  return value
}

export function optionalInteger(body: Body, name: string, min: number, max: number): number | undefined {
  const value = body[name]
  if (value === undefined || value === null) return undefined
  if (!Number.isInteger(value)) throw failed(lowerFirst(name), 'Member must be an integer')
  if ((value as number) < min)
    throw failed(lowerFirst(name), `Member must have value greater than or equal to ${min}`)
  if ((value as number) > max)
    throw failed(lowerFirst(name), `Member must have value less than or equal to ${max}`)
  return value as number
}

export function oneOf<T extends string>(body: Body, name: string, allowed: readonly T[]): T | undefined {
  const value = optionalString(body, name)
  if (value === undefined || allowed.some((each) => each === value)) return value as T | undefined
  throw failed(lowerFirst(name), `Member must satisfy enum value set: [${allowed.join(', ')}]`)
}

const ID = /^[a-z0-9]{8}(-[a-z0-9]{4}){3}-[a-z0-9]{12}(:\d+)?$/

export function statementId(body: Body): string {
  const id = requiredString(body, 'Id')
  if (!ID.test(id)) throw failed('id', `Member must satisfy regular expression pattern: ${ID.source}`)
  return id
}

export const waitSeconds = (body: Body, limits: Limits) =>
  optionalInteger(body, 'WaitTimeSeconds', 0, limits.waitSeconds) ?? 0

/** Reads ExecuteStatement and BatchExecuteStatement. */
export function readExecute(body: Body, batch: boolean, limits: Limits): ExecuteRequest {
  const sqls = batch ? readSqls(body, limits) : [readSql(body.Sql, 'sql', limits)]
  if (oneOf(body, 'ResultFormat', ['JSON', 'CSV']) === 'CSV') {
    throw validation('the Redshift emulator does not know the result format CSV')
  }
  const sessionId = optionalString(body, 'SessionId')
  if (sessionId !== undefined && !ID.test(sessionId)) {
    throw failed('sessionId', `Member must satisfy regular expression pattern: ${ID.source}`)
  }
  return {
    batch,
    sqls,
    parameters: readParameters(body, limits),
    target: sessionId === undefined ? readTarget(body) : refuseTarget(body),
    sessionId,
    keepAliveSeconds: optionalInteger(body, 'SessionKeepAliveSeconds', 0, limits.sessionSeconds),
    statementName: optionalString(body, 'StatementName', 500, 0),
    clientToken: optionalString(body, 'ClientToken', 64),
    mode: (batch && oneOf(body, 'ExecutionMode', ['TRANSACTION', 'AUTO_COMMIT'])) || 'TRANSACTION',
    waitSeconds: waitSeconds(body, limits),
  }
}

function readSqls(body: Body, limits: Limits): string[] {
  const { Sqls: sqls } = body
  if (!Array.isArray(sqls)) throw failed('sqls', 'Member must not be null')
  if (sqls.length < 1) throw failed('sqls', 'Member must have length greater than or equal to 1')
  if (sqls.length > limits.batchStatements) {
    throw failed('sqls', `Member must have length less than or equal to ${limits.batchStatements}`)
  }
  return sqls.map((sql, index) => readSql(sql, `sqls.${index + 1}.member`, limits))
}

function readSql(sql: unknown, member: string, limits: Limits): string {
  if (typeof sql !== 'string') throw failed(member, 'Member must not be null')
  if (sql.trim() === '') throw failed(member, 'Member must have length greater than or equal to 1')
  if (!sql.isWellFormed()) throw validation(`Value at '${member}' is not valid Unicode`)
  const bytes = Buffer.byteLength(sql)
  if (bytes > limits.statementBytes) {
    throw validation(
      `Query string is too large: ${bytes} bytes, the maximum is ${limits.statementBytes} bytes (100 KB)`,
    )
  }
  return sql
}

function readParameters(body: Body, limits: Limits): SqlParameter[] {
  const { Parameters: parameters } = body
  if (parameters === undefined || parameters === null) return []
  if (!Array.isArray(parameters) || parameters.length < 1) {
    throw failed('parameters', 'Member must have length greater than or equal to 1')
  }
  if (parameters.length > limits.parameters) {
    throw failed('parameters', `Member must have length less than or equal to ${limits.parameters}`)
  }
  const seen = new Set<string>()
  return parameters.map((each: unknown, index) => {
    const { name, value } = (each ?? {}) as Record<string, unknown>
    const member = `parameters.${index + 1}.member`
    if (typeof name !== 'string') throw failed(`${member}.name`, 'Member must not be null')
    if (!/^[0-9a-zA-Z_]+$/.test(name)) {
      throw failed(`${member}.name`, 'Member must satisfy regular expression pattern: ^[0-9a-zA-Z_]+$')
    }
    if (typeof value !== 'string') throw failed(`${member}.value`, 'Member must not be null')
    if (value.length < 1)
      throw failed(`${member}.value`, 'Member must have length greater than or equal to 1')
    if (seen.has(name)) throw validation(`Duplicate parameter name: ${name}`)
    seen.add(name)
    return { name, value }
  })
}

function readTarget(body: Body): Target {
  const target = {
    clusterIdentifier: optionalString(body, 'ClusterIdentifier', 63),
    workgroupName: optionalString(body, 'WorkgroupName', 128),
    dbUser: optionalString(body, 'DbUser'),
    secretArn: optionalString(body, 'SecretArn'),
  }
  const { clusterIdentifier, workgroupName, dbUser, secretArn } = target
  if ((clusterIdentifier === undefined) === (workgroupName === undefined)) {
    throw validation('Exactly one of ClusterIdentifier and WorkgroupName must be given')
  }
  if (dbUser !== undefined && secretArn !== undefined)
    throw validation('DbUser and SecretArn exclude each other')
  if (dbUser !== undefined && workgroupName !== undefined) {
    throw validation('DbUser is not allowed with WorkgroupName')
  }
  const database = optionalString(body, 'Database')
  if (database === undefined) throw validation('Database is required')
  return { ...target, database }
}

function refuseTarget(body: Body): undefined {
  for (const name of ['ClusterIdentifier', 'WorkgroupName', 'Database', 'DbUser', 'SecretArn']) {
    if (body[name] !== undefined) throw validation(`${name} is not allowed with SessionId`)
  }
  return undefined
}
