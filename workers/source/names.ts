import { createHash } from 'node:crypto'
import type { PipelineSpec } from '../../crds/pipeline.ts'

const MAX_NAME = 63
const HASH_LENGTH = 8

/** Name of a Pipeline's publication: the spec's, else `defaultName`. */
export function publicationName(spec: PipelineSpec, namespace: string, pipeline: string): string {
  return spec.source.postgres.publication ?? defaultName(namespace, pipeline)
}

/** Name of a Pipeline's replication slot: the spec's, else `defaultName`. */
export function slotName(spec: PipelineSpec, namespace: string, pipeline: string): string {
  return spec.source.postgres.slot ?? defaultName(namespace, pipeline)
}

/**
 * `millrace_<namespace>_<name>`, with every other character than a-z, 0-9 and _ replaced by _.
 *
 * Where that could be the name of another Pipeline too (`a-b`/`c` and `a`/`b-c`), or is too long, it ends in a hash: two
 * Pipelines that read one slot would take each other's changes.
 */
export function defaultName(namespace: string, pipeline: string): string {
  const whole = `millrace_${namespace}_${pipeline}`
  const plain = whole.replaceAll(/[^a-z0-9_]/g, '_')
  if (plain === whole && plain.length <= MAX_NAME) return plain
  const hash = createHash('sha256').update(`${namespace}/${pipeline}`).digest('hex').slice(0, HASH_LENGTH)
  return `${plain.slice(0, MAX_NAME - HASH_LENGTH - 1)}_${hash}`
}
