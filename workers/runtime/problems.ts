import type { Component } from '../../crds/api.ts'
import type { Problem } from '../../crds/pipeline.ts'
import { type ErrorCode, toMillraceError } from '../../lib/errors.ts'

/** Longest message that a status takes, in characters; a database may say more. */
const MAX_MESSAGE = 32_000

const SLOT_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['SlotLost', 'SlotInUse', 'SourceChanged'])
const QUEUE_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'QueueLost',
  'QueueConflict',
  'QueueUnavailable',
])
const DESTINATION_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'DestinationUnavailable',
  'DestinationConflict',
])

/**
 * An error as an entry of `status.capture.problems` or `status.apply.problems`. What it is about follows from the error's
 * field and code, unless the caller knows better.
 */
export function toProblem(
  thrown: unknown,
  about: { component?: Component; table?: { readonly schema: string; readonly name: string } } = {},
): Problem {
  const error = toMillraceError(thrown)
  const component =
    about.component ?? componentOf(error.code, error.field) ?? (about.table ? 'Table' : 'Source')
  return {
    component,
    ...(about.table && { table: { schema: about.table.schema, name: about.table.name } }),
    code: error.code,
    message: cutMessage(error.message) || error.code,
  }
}

function componentOf(code: ErrorCode, field: string | undefined): Component | undefined {
  if (SLOT_CODES.has(code)) return 'Slot'
  if (QUEUE_CODES.has(code) || field?.startsWith('spec.queue')) return 'Queue'
  if (DESTINATION_CODES.has(code) || field?.startsWith('spec.destination')) return 'Destination'
  if (field?.startsWith('spec.tables')) return 'Table'
  return field?.startsWith('spec.source') ? 'Source' : undefined
}

/** Cuts a message at what a status may hold, between characters. */
export function cutMessage(message: string): string {
  if (message.length <= MAX_MESSAGE) return message
  return `${message.slice(0, MAX_MESSAGE - 2).replace(/[\uD800-\uDBFF]$/, '')} …`
}
