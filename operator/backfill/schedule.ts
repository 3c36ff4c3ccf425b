/** Which backfills of one Pipeline may run, and where the others stand in the line. */

export interface Candidate {
  readonly uid: string
  readonly name: string
  /** Label of the table. */
  readonly table: string
  /** Made by the operator when the table joined. */
  readonly initial: boolean
  /** Milliseconds since 1970. */
  readonly created: number
  /**
   * - waiting: wants a place and has none.
   * - running: has one: its pod runs, or may still run.
   * - apart: neither; ended, suspended, copied already (rule R9), or not able to run at all.
   */
  readonly state: 'waiting' | 'running' | 'apart'
  /** Its copy is not finished, so no other backfill of the table may begin. */
  readonly ownsTable: boolean
}

export interface ScheduleInput {
  /** spec.backfill.maxConcurrentTables */
  readonly limit: number
  /** False while nothing may start: the Pipeline is paused, stopped or being deleted. */
  readonly open: boolean
  /** Labels of the tables in the order of the spec. */
  readonly tables: readonly string[]
  readonly candidates: readonly Candidate[]
}

export interface Place {
  /** From 1, among all that wait. */
  readonly position: number
  /** Name of the backfill of the same table that has to end first. */
  readonly behind: string | undefined
}

export interface Schedule {
  /** uids of those that start now, in this order. */
  readonly start: readonly string[]
  readonly waiting: ReadonlyMap<string, Place>
}

/**
 * First in, first out. Nothing overtakes for being small, so a large one is never starved; only one whose table is taken by
 * another backfill is passed over.
 */
export function schedule({ limit, open, tables, candidates }: ScheduleInput): Schedule {
  let places = limit - candidates.filter((candidate) => candidate.state === 'running').length
  const owners = new Map(candidates.flatMap((one) => (one.ownsTable ? [[one.table, one] as const] : [])))
  const start: string[] = []
  const waiting = new Map<string, Place>()
  for (const candidate of inOrder(
    candidates.filter((one) => one.state === 'waiting'),
    tables,
  )) {
    const owner = owners.get(candidate.table)
    const free = owner === undefined || owner.uid === candidate.uid
    if (open && free && places > 0) {
      places -= 1
      start.push(candidate.uid)
    } else {
      waiting.set(candidate.uid, { position: waiting.size + 1, behind: free ? undefined : owner.name })
    }
    if (free) owners.set(candidate.table, candidate)
  }
  return { start, waiting }
}

/**
 * By creation; but initial backfills among themselves in the order of the spec, because they come into being as their tables
 * join, in any order. So that both hold at once, an initial one counts as old as the oldest waiting one behind it in the spec.
 */
function inOrder(waiting: readonly Candidate[], tables: readonly string[]): Candidate[] {
  const index = new Map(tables.map((table, at) => [table, at]))
  const specOrder = (candidate: Candidate) => index.get(candidate.table) ?? tables.length
  const initial = waiting
    .filter((one) => one.initial)
    .sort((a, b) => specOrder(a) - specOrder(b) || byName(a, b))
  const age = new Map<string, number>()
  let oldest = Number.POSITIVE_INFINITY
  for (const candidate of initial.toReversed()) {
    oldest = Math.min(oldest, candidate.created)
    age.set(candidate.uid, oldest)
  }
  const rank = new Map(initial.map((candidate, at) => [candidate.uid, at]))
  const created = (candidate: Candidate) => age.get(candidate.uid) ?? candidate.created
  return [...waiting].sort((a, b) => {
    if (created(a) !== created(b)) return created(a) - created(b)
    if (a.initial !== b.initial) return a.initial ? -1 : 1
    return (rank.get(a.uid) ?? 0) - (rank.get(b.uid) ?? 0) || byName(a, b)
  })
}

function byName(a: Candidate, b: Candidate): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0
}
