import type { ControlLine, LogMessage } from '../queue/format.ts'
import { tableLabel } from '../source/table.ts'

/** A message of ours that concerns a table. */
export type TableMessage = Exclude<LogMessage, { kind: 'heartbeat' }>

/** A control line without its place; that is filled in when it is written. */
export type ControlContent = ControlLine extends infer Line
  ? Line extends ControlLine
    ? Omit<Line, 'tx' | 'seq' | 'at'>
    : never
  : never

/** What a message becomes in the table's topic; `lsn` is the end of its commit (rule R3). */
export function controlOf(message: TableMessage, lsn: string): ControlContent {
  switch (message.kind) {
    case 'hold':
      return { control: 'hold', lsn, uid: message.uid, name: message.name, action: message.action }
    case 'release':
      return { control: 'release', lsn, uid: message.uid }
    case 'gap':
      return { control: 'gap', code: message.code, message: message.message }
    default:
      return { control: message.kind, lsn }
  }
}

/** A message of ours for a table; undefined when it is another slot's, a heartbeat, or none that we would write. */
export function parseMessage(content: Buffer, slot: string): TableMessage | undefined {
  let parsed: unknown
  try {
    parsed = JSON.parse(content.toString('utf8'))
  } catch {
    return undefined
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined
  const message = parsed as Partial<Record<string, unknown>>
  const isTable = typeof message.schema === 'string' && typeof message.table === 'string'
  if (message.slot !== slot || !isTable) return undefined
  const kinds: readonly unknown[] = ['hold', 'release', 'join', 'leave', 'gap', 'mark']
  return kinds.includes(message.kind) ? (message as unknown as TableMessage) : undefined
}

/** For logs. */
export function describeMessage(message: TableMessage): string {
  return `${message.kind} ${tableLabel({ schema: message.schema, name: message.table })}`
}
