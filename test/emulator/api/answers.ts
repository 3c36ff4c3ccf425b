import type { Field, ResultColumn } from '../engine/result.ts'
import { isTerminal, type StatementRecord, type SubStatement } from './store.ts'

// What the operations answer, before it is written as JSON. Times are seconds, durations nanoseconds.

export const seconds = (milliseconds: number) => milliseconds / 1000

/** Leaves out what has no value. */
export function compact(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

function targetFields({ target, user }: StatementRecord) {
  return {
    ClusterIdentifier: target.clusterIdentifier,
    WorkgroupName: target.workgroupName,
    Database: target.database,
    DbUser: target.secretArn === undefined ? user : undefined,
    SecretArn: target.secretArn,
  }
}

/** ExecuteStatement and BatchExecuteStatement; status and its like only when the request waited. */
export function executeAnswer(record: StatementRecord) {
  const waited = record.request.waitSeconds > 0
  return compact({
    Id: record.id,
    CreatedAt: seconds(record.createdAt),
    ...targetFields(record),
    DbGroups: [],
    SessionId: record.sessionId,
    Status: waited ? record.status : undefined,
    RedshiftPid: waited ? record.pid : undefined,
    HasResultSet: waited ? hasResult(record) : undefined,
  })
}

const hasResult = (record: StatementRecord) => record.subs.some(({ result }) => result !== undefined)

const nanoseconds = (from: number | undefined, to: number | undefined) =>
  from === undefined || to === undefined ? -1 : Math.round((to - from) * 1e6)

export function describeAnswer(record: StatementRecord) {
  const { request, subs } = record
  const single = request.batch ? undefined : subs[0]
  return compact({
    Id: record.id,
    ...targetFields(record),
    SessionId: record.sessionId,
    CreatedAt: seconds(record.createdAt),
    UpdatedAt: seconds(record.updatedAt),
    Duration: nanoseconds(record.startedAt, record.endedAt),
    Status: record.status,
    Error: record.error,
    HasResultSet: hasResult(record),
    QueryParameters: request.parameters.length > 0 ? request.parameters : undefined,
    QueryString: single?.sql,
    RedshiftPid: record.pid,
    RedshiftQueryId: single?.queryId ?? 0,
    ResultFormat: 'JSON',
    ResultRows: single?.rows ?? -1,
    ResultSize: sizeOf(single),
    SubStatements: request.batch ? subs.map((sub, index) => subAnswer(record, sub, index)) : undefined,
    ExecutionMode: request.batch ? request.mode : undefined,
  })
}

const sizeOf = (sub: SubStatement | undefined) => (sub?.status === 'FINISHED' ? (sub.result?.bytes ?? 0) : -1)

function subAnswer(record: StatementRecord, sub: SubStatement, index: number) {
  return compact({
    Id: `${record.id}:${index + 1}`,
    CreatedAt: seconds(record.createdAt),
    UpdatedAt: seconds(sub.endedAt ?? sub.startedAt ?? record.createdAt),
    Duration: nanoseconds(sub.startedAt, sub.endedAt),
    Status: sub.status,
    Error: sub.error,
    HasResultSet: sub.result !== undefined,
    QueryString: sub.sql,
    RedshiftQueryId: sub.queryId,
    ResultRows: sub.rows,
    ResultSize: sizeOf(sub),
  })
}

/** DescribeStatement with the id of a statement of a batch. */
export function describeSub(record: StatementRecord, sub: SubStatement, index: number) {
  return {
    ...subAnswer(record, sub, index),
    ...compact(targetFields(record)),
    RedshiftPid: record.pid,
    ResultFormat: 'JSON',
  }
}

export function listAnswer(record: StatementRecord) {
  const { request } = record
  return compact({
    Id: record.id,
    QueryString: request.batch ? undefined : request.sqls[0],
    QueryStrings: request.batch ? request.sqls : undefined,
    IsBatchStatement: request.batch,
    Status: record.status,
    StatementName: request.statementName,
    QueryParameters: request.parameters.length > 0 ? request.parameters : undefined,
    ResultFormat: 'JSON',
    SecretArn: record.target.secretArn,
    SessionId: record.sessionId,
    CreatedAt: seconds(record.createdAt),
    UpdatedAt: seconds(record.updatedAt),
  })
}

export function columnAnswer(column: ResultColumn) {
  return {
    isCaseSensitive: column.isCaseSensitive,
    isCurrency: false,
    isSigned: column.isSigned,
    label: column.name,
    name: column.name,
    nullable: column.nullable,
    precision: column.precision,
    scale: column.scale,
    schemaName: column.schemaName,
    tableName: column.tableName,
    typeName: column.typeName,
    length: column.length,
  }
}

/** A value; whole numbers as digits, so that none is rounded on the way. */
export function fieldAnswer(field: Field): unknown {
  if ('longValue' in field) return { longValue: rawJson(field.longValue) }
  if ('doubleValue' in field && !Number.isFinite(field.doubleValue)) {
    return { doubleValue: String(field.doubleValue) }
  }
  return field
}

export const fieldBytes = (field: Field) =>
  'stringValue' in field ? Buffer.byteLength(field.stringValue) + 20 : 24

export const stillRunning = (record: StatementRecord) => !isTerminal(record.status)

// Not yet in TypeScript's library.
const rawJson = (digits: string): unknown =>
  (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(digits)
