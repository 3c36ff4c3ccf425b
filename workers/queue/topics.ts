import { createHash } from 'node:crypto'
import type { PipelineSpec } from '../../crds/pipeline.ts'
import type { TableName } from '../source/table.ts'

/** Kafka's own limit on a topic's name, in characters. */
const MAX_TOPIC = 249

/** Begin of the names of a Pipeline's topics: the spec's, else `<namespace>.<name>`. */
export function topicPrefix(spec: PipelineSpec, namespace: string, pipeline: string): string {
  return spec.queue.kafka.topicPrefix ?? `${namespace}.${pipeline}`
}

/**
 * Name of a table's topic, `<prefix>.<schema>.<table>`.
 *
 * Characters that Kafka does not allow in a topic, and the ones used to escape them, become `_` and their code in
 * hexadecimal, so that two tables never share a topic. A name that would be too long ends in a hash instead.
 */
export function tableTopic(prefix: string, table: TableName): string {
  return shorten(`${prefix}.${escapePart(table.schema)}.${escapePart(table.name)}`)
}

/** Topic in which capture keeps its own record: what it has acknowledged, and the incarnations of the topics. */
export function captureTopic(prefix: string): string {
  return shorten(`${prefix}.__capture`)
}

// An underscore is by far the most common character that needs no escape for Kafka, so it stays as it is unless it
// could be read as the start of an escape.
function escapePart(part: string): string {
  return part.replace(/[^A-Za-z0-9_-]|_(?=x[0-9a-f])/gu, (char) => `_x${char.codePointAt(0)?.toString(16)}_`)
}

function shorten(topic: string): string {
  if (topic.length <= MAX_TOPIC) return topic
  const hash = createHash('sha256').update(topic).digest('hex').slice(0, 16)
  return `${topic.slice(0, MAX_TOPIC - 17)}-${hash}`
}
