import { APPLYING } from './list/applying.ts'
import { GAPS } from './list/gaps.ts'
import { INVARIANTS } from './list/invariants.ts'
import { JOINING } from './list/joining.ts'
import { READING } from './list/reading.ts'
import type { Mutant } from './mutant.ts'

export const MUTANTS: readonly Mutant[] = [...INVARIANTS, ...JOINING, ...READING, ...APPLYING, ...GAPS]
