import { attackAgain, runTests, type Verdict } from './killers.ts'
import type { Killer } from './mutant.ts'

/** What the tests say of the code as it is: one that fails anyway proves nothing. */
export interface Baseline {
  /**
   * @param dir tree without any mutant
   * @param seed the schedule of the model that failed; it is enough that the very same one passes
   */
  of(killer: Killer, dir: string, seed: number | undefined): Promise<Verdict>
}

/** @param killers all that may be asked for; the tests of one file are then run at once */
export function createBaseline(killers: readonly Killer[]): Baseline {
  const known = new Map<string, Promise<Verdict>>()
  const key = (killer: Killer, seed?: number) => JSON.stringify([killer, seed])
  return {
    of(killer, dir, seed) {
      const found = known.get(key(killer, seed))
      if (found) return found
      if (killer.kind === 'model') {
        const verdict = attackAgain(killer, dir, seed ?? 1)
        known.set(key(killer, seed), verdict)
        return verdict
      }
      const same = killers.filter((each) => each.kind !== 'model')
      const together = same.filter((each) => each.file === killer.file)
      const verdicts = runTests(together, dir)
      for (const [index, each] of together.entries()) {
        known.set(
          key(each),
          verdicts.then((all) => all[index] as Verdict),
        )
      }
      return known.get(key(killer)) as Promise<Verdict>
    },
  }
}
