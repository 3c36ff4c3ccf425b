import type { Profile } from '../model/profile.ts'

/** One safeguard of the product, how it is taken away, and the test that must then fail. */
export interface Mutant {
  /** Rule or invariant of the protocol. */
  readonly rule: string
  /** What is not done any more. */
  readonly without: string
  readonly edits: readonly Edit[]
  readonly killer: Killer
}

/** Text that must be in a file exactly once; a list that has fallen behind the code cannot pass in silence. */
export interface Edit {
  readonly file: string
  readonly find: string
  readonly replace: string
}

export type Killer =
  /** Random schedules of the model, of a kind in which the safeguard matters. */
  | { readonly kind: 'model'; readonly schedules: number; readonly profile: FixedProfile }
  | { readonly kind: 'unit' | 'integration'; readonly file: string; readonly name: string }

export type FixedProfile = Partial<Omit<Profile, 'weights'>> & {
  readonly weights?: Readonly<Record<string, number>>
}

/** Edits of one file. */
export function edit(file: string, ...pairs: readonly (readonly [find: string, replace: string])[]): Edit[] {
  return pairs.map(([find, replace]) => ({ file, find, replace }))
}

/** Long schedules with quick workers, so that most of what happens happens while they stream and copy. */
const LIVELY = { capture: 60, apply: 60, backfill: 90 }

export function model(schedules: number, profile: FixedProfile = {}): Killer {
  const weights = { ...LIVELY, ...profile.weights }
  return {
    kind: 'model',
    schedules,
    profile: { keyless: false, soft: false, steps: 500, ...profile, weights },
  }
}

export function unit(file: string, name = ''): Killer {
  return { kind: 'unit', file, name }
}

export function integration(file: string, name: string): Killer {
  return { kind: 'integration', file: `test/integration/${file}.test.ts`, name }
}
