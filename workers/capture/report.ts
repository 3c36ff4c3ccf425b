import type { CaptureStatus, Problem } from '../../crds/pipeline.ts'
import { toProblem } from '../runtime/problems.ts'
import type { StatusWriter } from '../runtime/status.ts'
import type { TableName } from '../source/table.ts'
import type { TableProblem } from './tables.ts'

/** What can be wrong with capture as a whole; each holds one error at most. */
export type Trouble = 'session' | 'slot' | 'source' | 'stream'

/** What a person sees of capture: `status.capture` of the Pipeline. */
export interface Report {
  facts(facts: Partial<Omit<CaptureStatus, 'tables' | 'problems'>>): void
  tables(joined: readonly TableName[], problems: readonly TableProblem[]): void
  /** Something is wrong and is tried again; undefined: no longer. */
  trouble(of: Trouble, thrown: unknown): void
}

/** Problems of single tables that are listed; the status of a Pipeline must not outgrow what the API server takes. */
const MOST_PROBLEMS = 200

/** @param before what an earlier capture reported: it stands until something better is known */
export function createReport(writer: StatusWriter, before: CaptureStatus | undefined): Report {
  const { tables = [], problems: _, ...known } = before ?? {}
  let facts: Partial<CaptureStatus> = known
  let joined: readonly TableName[] = tables
  let tableProblems: Problem[] = []
  const troubles = new Map<Trouble, Problem>()

  function write(urgent: boolean): void {
    const problems = [...troubles.values(), ...tableProblems]
    writer.set(
      { capture: { ...facts, tables: joined, ...(problems.length > 0 && { problems }) } },
      { urgent },
    )
  }

  return {
    facts(changes) {
      facts = { ...facts, ...changes }
      write(false)
    },
    tables(names, problems) {
      const before = JSON.stringify([joined, tableProblems])
      joined = names.map(({ schema, name }) => ({ schema, name }))
      tableProblems = problems
        .slice(0, MOST_PROBLEMS)
        .map(({ table, error }) => toProblem(error, { component: 'Table', table }))
      // Backfills wait for their table to join.
      write(JSON.stringify([joined, tableProblems]) !== before)
    },
    trouble(of, thrown) {
      if (thrown === undefined) {
        if (troubles.delete(of)) write(true)
        return
      }
      const problem = toProblem(thrown, of === 'slot' ? { component: 'Slot' } : {})
      const isNew = troubles.get(of)?.code !== problem.code
      troubles.set(of, problem)
      write(isNew)
    },
  }
}
