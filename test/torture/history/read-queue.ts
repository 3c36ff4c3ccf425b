import { createLogger } from '../../../lib/log.ts'
import { readRun } from '../../../workers/queue/decode.ts'
import { createRunJoiner } from '../../../workers/queue/join-runs.ts'
import { createKafkaQueue } from '../../../workers/queue/kafka.ts'
import type { Queue, QueueRecord } from '../../../workers/queue/queue.ts'
import { captureTopic } from '../../../workers/queue/topics.ts'
import type { RecordEvent, RunEvent, RunLine } from './events.ts'

const never = new AbortController().signal

/** A reader of the queue's own, which needs no secrets. */
export function openQueue(bootstrapServers: readonly string[]): Queue {
  const noSecret = async () => {
    throw new Error('no secrets here')
  }
  return createKafkaQueue(
    { bootstrapServers: [...bootstrapServers], retentionSeconds: 0 },
    { read: noSecret } as never,
    createLogger('torture', 'silent'),
  )
}

/** All that is left in the tables' topics, and capture's own record. */
export async function readQueue(
  queue: Queue,
  prefix: string,
  topics: readonly string[],
): Promise<(RunEvent | RecordEvent)[]> {
  const found: (RunEvent | RecordEvent)[] = []
  for (const topic of topics) found.push(...runsOf(topic, await queue.readAll(topic, never)))
  for (const { timestamp, value } of await queue.readAll(captureTopic(prefix), never)) {
    const content = JSON.parse(value.toString('utf8')) as { kind: string; epoch: number; lsn: string }
    if (content.kind === 'state')
      found.push({ kind: 'record', at: timestamp, epoch: content.epoch, lsn: content.lsn })
  }
  return found
}

function runsOf(topic: string, records: readonly QueueRecord[]): RunEvent[] {
  const joiner = createRunJoiner()
  return records.flatMap((record) => {
    try {
      const run = joiner.push(record)
      return run ? [toEvent(topic, record, run.value)] : []
    } catch {
      return [] // the front of a split run was deleted
    }
  })
}

function toEvent(topic: string, record: QueueRecord, value: Buffer): RunEvent {
  const lines: RunLine[] = []
  let sequences: number[] = []
  let header = { inc: '', epoch: 0, table: ['', ''] as readonly [string, string] }
  for (const entry of readRun(value, topic)) {
    if (entry.kind === 'header') header = entry.header
    if (entry.kind === 'transaction') {
      sequences = []
      lines.push({ tx: hex(entry.lsn), xid: entry.xid, sequences })
    }
    if (entry.kind === 'row') sequences.push(entry.line[1])
    if (entry.kind === 'control') {
      const { control, tx, seq } = entry.line
      const { lsn = '', uid = '' } = entry.line as { lsn?: string; uid?: string }
      lines.push({ control, tx, seq, lsn, uid })
    }
  }
  return {
    kind: 'run',
    at: record.timestamp,
    topic,
    table: header.table.join('.'),
    offset: Number(record.offset),
    incarnation: header.inc,
    epoch: header.epoch,
    lines,
  }
}

const hex = (lsn: bigint) =>
  `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`
