import type { Pipeline } from '../../crds/pipeline.ts'
import { tableKey } from '../context.ts'

/** What the operator remembers between two looks at a Pipeline; losing it changes nothing but a delay. */
export interface PipelineMemory {
  /** When apply was first seen to report a table, by uid of the Pipeline and table. */
  readonly firstReported: Map<string, Map<string, number>>
  /** Tables that left the list since the last look, by uid. */
  readonly left: Map<string, Set<string>>
  /** When a status was last written, milliseconds, by uid. */
  readonly lastWritten: Map<string, number>
}

export function createPipelineMemory(): PipelineMemory {
  return { firstReported: new Map(), left: new Map(), lastWritten: new Map() }
}

/** Remembers tables that leave the list, however soon they come back. */
export function rememberLeft(memory: PipelineMemory, pipeline: Pipeline, before: Pipeline | undefined): void {
  if (!before || before.metadata.uid !== pipeline.metadata.uid) return
  if (before.metadata.generation === pipeline.metadata.generation) return
  const listed = new Set(pipeline.spec.tables.map(tableKey))
  for (const table of before.spec.tables.map(tableKey)) {
    if (listed.has(table)) continue
    const left = memory.left.get(pipeline.metadata.uid) ?? new Set()
    memory.left.set(pipeline.metadata.uid, left.add(table))
    memory.firstReported.get(pipeline.metadata.uid)?.delete(table)
  }
}
