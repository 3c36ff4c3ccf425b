import type { Condition } from '../crds/pipeline.ts'

export type NewCondition = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>

/** Conditions as they are to be written: the time of the last transition is kept while the status stays the same. */
export function setConditions(
  wanted: readonly NewCondition[],
  present: readonly Condition[] | undefined,
  generation: number,
  now: Date,
): Condition[] {
  return wanted.map((condition) => {
    const before = present?.find((one) => one.type === condition.type)
    const same = before?.status === condition.status
    return {
      type: condition.type,
      status: condition.status,
      observedGeneration: generation,
      lastTransitionTime: same ? before.lastTransitionTime : timestamp(now),
      reason: condition.reason,
      message: cut(condition.message),
    }
  })
}

/** A time as Kubernetes writes it, whole seconds. */
export function timestamp(at: Date): string {
  return at.toISOString().replace(/\.\d+Z$/, 'Z')
}

/** What a message in a status may have at most, characters. */
export function cut(message: string, limit = 32_000): string {
  if (message.length <= limit) return message
  return `${message.slice(0, limit - 2).replace(/[\uD800-\uDBFF]$/, '')} …`
}
