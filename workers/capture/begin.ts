import type { PipelineSpec } from '../../crds/pipeline.ts'
import { around } from '../../lib/failpoints.ts'
import type { Queue } from '../queue/queue.ts'
import { tableTopic } from '../queue/topics.ts'
import type { PostgresTarget } from '../source/connect.ts'
import { readLogEnd, type ServerIdentity } from '../source/identity.ts'
import type { LSN } from '../source/lsn.ts'
import { readMembers, type SourceNames } from '../source/publication.ts'
import { endReader, slotInUse } from '../source/slot.ts'
import { type TableName, tableLabel } from '../source/table.ts'
import type { Changes } from './changes.ts'
import type { Directory } from './directory.ts'
import type { ControlContent } from './log-messages.ts'
import { claimPublication, findStart, inspectServer, makeSlot } from './prepare.ts'
import { type CaptureRecord, type Gap, stateRecord } from './record.ts'
import type { RecordStore } from './record-store.ts'
import type { Report } from './report.ts'
import type { SqlSession } from './sql-session.ts'
import { assertOwnRecord, decideStart } from './start.ts'

export interface BeginOptions {
  readonly target: PostgresTarget
  readonly queue: Queue
  readonly names: SourceNames
  readonly owner: string
  readonly prefix: string
  readonly report: Report
  readonly spec: () => PipelineSpec
  readonly unusable: string | undefined
  /** This process has written a record already. */
  readonly hasRecorded: boolean
  readonly sql: SqlSession
  readonly store: RecordStore
  /** Process of the source that has sent the log to this process before; undefined: none has. */
  readonly formerReader: number | undefined
}

/** From where, and under which epoch, the log is read. */
export interface Beginning {
  readonly epoch: number
  readonly from: LSN
  readonly gap: Gap | undefined
  /** The topics are those of a Pipeline that has ended. */
  readonly anew: boolean
  /** The record already says so. */
  readonly isResumed: boolean
  readonly identity: ServerIdentity
  readonly record: CaptureRecord
  /** Tables that a gap concerns. */
  readonly tables: readonly TableName[]
}

/**
 * Looks at server, slot and record, decides how to go on, and makes slot and publication ready.
 *
 * Throws `SourceChanged` (retryable) when the address leads to another server meanwhile, `SlotInUse` while another process reads the slot; a session of this one that was left behind is ended. That is asked
 * before the record is read: the other one may still write it, and a record older than the slot would look like a gap.
 */
export async function begin(options: BeginOptions, signal: AbortSignal): Promise<Beginning> {
  const { sql, names, store, queue, prefix } = options
  const identity = await sql.use(inspectServer)
  sql.pin(identity)
  const slot = await sql.use((connection) => endReader(connection, names.slot, options.formerReader, signal))
  if (slot?.activePid !== undefined) throw slotInUse(names.slot, slot.activePid)
  const record = await store.read(signal)
  assertOwnRecord(record.state, options.owner, options.hasRecorded)
  await sql.use((connection) =>
    claimPublication(connection, names, options.owner, slot, record.state !== undefined),
  )
  const tables = await concerned(options)
  const decision = decideStart({
    record: record.state,
    slot,
    systemIdentifier: identity.systemIdentifier,
    timeline: identity.timeline,
    owner: options.owner,
    logEnd: (await sql.use(readLogEnd)).inserted,
    hasPast: record.state !== undefined || (await hasContent(queue, prefix, tables, signal)),
    unusable: options.unusable,
    now: Date.now(),
  })
  const { epoch, gap, anew = false } = decision
  // Before anything is done about it that could hide it: until it has been told to every table, the next session finds it here.
  if (gap && record.state && !record.state.gap) {
    const found = stateRecord({ ...record.state, gap })
    await around('capture.record', () => store.write(found, signal))
  }
  const isResumed = decision.from !== undefined
  const onWait = (error: unknown) => options.report.trouble('slot', error)
  if (decision.slot !== 'keep')
    await makeSlot(options.target, sql, names.slot, decision.slot === 'replace', onWait, signal)
  // Also of a slot that is there: the process may have died when it had just made it.
  const from = decision.from ?? (await findStart(sql, names.publication, options.owner, onWait, signal))
  return { epoch, from, gap, anew, isResumed, identity, record, tables }
}

/** The tables of the spec and of the publication. */
async function concerned(options: BeginOptions): Promise<TableName[]> {
  const { sql, names, spec } = options
  const members = await sql.use((connection) => readMembers(connection, names.publication))
  const byLabel = new Map<string, TableName>()
  for (const { schema, name } of [...spec().tables, ...members]) {
    byLabel.set(tableLabel({ schema, name }), { schema, name })
  }
  return [...byLabel.values()]
}

async function hasContent(
  queue: Queue,
  prefix: string,
  tables: readonly TableName[],
  signal: AbortSignal,
): Promise<boolean> {
  for (const table of tables) {
    const offsets = await queue.offsets(tableTopic(prefix, table), signal)
    if (offsets && offsets.end > 0n) return true
  }
  return false
}

/** Writes a gap (rule R22), or that its Pipeline has ended, into the topic of every table that has one. */
export async function writeBreak(
  line: ControlContent,
  tables: readonly TableName[],
  parts: {
    readonly directory: Directory
    readonly changes: Changes
    readonly queue: Queue
    readonly record: CaptureRecord
    readonly prefix: string
  },
  signal: AbortSignal,
): Promise<void> {
  for (const table of tables) {
    const topic = tableTopic(parts.prefix, table)
    const isThere = parts.record.topics.has(topic) || (await parts.queue.offsets(topic, signal)) !== undefined
    if (!isThere) continue
    const channel = await parts.directory.channel(table, signal)
    parts.changes.writeControl(channel, line)
  }
}
