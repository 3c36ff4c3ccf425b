/** What the run of one seed has found. */
export interface FuzzOutcome {
  readonly kind: FuzzKind
  readonly seed: number
  readonly tables: number
  /** That the source has taken. */
  readonly statements: number
  readonly differences: readonly Difference[]
  /** Tables that were stopped, though nothing was done to them that cannot be followed. No difference, but a nuisance. */
  readonly falseAlarms: number
  /** One line on the rest. */
  readonly summary: string
}

/** A table that is not what its source is, or cannot be made so, and nobody said so. */
export interface Difference {
  readonly table: string
  readonly what: string
  /** How it came about: the table's DDL, or its script with times. */
  readonly script: readonly string[]
}

export type FuzzKind = 'schemas' | 'ddl'

export const KINDS: readonly FuzzKind[] = ['schemas', 'ddl']

/** Gets each line of progress. */
export type Say = (line: string) => void

/** The lines about one seed: what it came to, and each difference with what repeats it. */
export function describeOutcome({ kind, seed, differences, summary }: FuzzOutcome): string[] {
  const head = `${differences.length === 0 ? 'equal    ' : 'DIFFERENT'} ${kind} seed ${seed}: ${summary}`
  return [
    head,
    ...differences.flatMap(({ table, what, script }) => [
      `  ${table}: ${what}`,
      ...script.map((line) => `      ${line}`),
      `    repeat with: make fuzz SEED=${seed} KIND=${kind}`,
    ]),
  ]
}

/** The last line of all. */
export function describeTotal(outcomes: readonly FuzzOutcome[]): string {
  const sum = (count: (outcome: FuzzOutcome) => number) =>
    outcomes.reduce((total, outcome) => total + count(outcome), 0)
  return `fuzz: tables=${sum(({ tables }) => tables)} statements=${sum(({ statements }) => statements)} differences=${sum(({ differences }) => differences.length)}`
}

/** Which runs are asked for. */
export interface FuzzSettings {
  readonly seeds: readonly number[]
  readonly kinds: readonly FuzzKind[]
  /** Tables of each run; undefined for as many as the kind has by default. */
  readonly tables: number | undefined
}

/**
 * SEEDS=n of each kind from SEED=s on, one alone with SEED and no SEEDS; KIND picks one kind, TABLES=n makes a run smaller or larger.
 *
 * @throws when one of them means nothing
 */
export function fuzzSettings(env: Readonly<Record<string, string | undefined>>): FuzzSettings {
  const first = whole(env, 'SEED') ?? 1
  const count = whole(env, 'SEEDS') ?? (env.SEED ? 1 : 2)
  const kinds = KINDS.filter((kind) => !env.KIND || kind === env.KIND)
  if (kinds.length === 0) throw new Error(`KIND is ${KINDS.join(' or ')}, not ${env.KIND}`)
  return { seeds: Array.from({ length: count }, (_, at) => first + at), kinds, tables: whole(env, 'TABLES') }
}

function whole(env: Readonly<Record<string, string | undefined>>, name: string): number | undefined {
  const text = env[name]
  if (!text) return undefined
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${name} must be a whole number, not ${text}`)
  return Number(text)
}
