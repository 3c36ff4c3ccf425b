import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { attack, type Verdict } from './killers.ts'
import { MUTANTS } from './list.ts'
import type { Killer, Mutant } from './mutant.ts'
import { copyTree, type Tree } from './tree.ts'

/**
 * `make mutants [ONLY=R10,I5] [KIND=model]`: takes the safeguards of the protocol away, one at a time and in a copy of the
 * tree, and shows which test notices. A safeguard that no test misses is not proven, so it fails.
 */
const only = process.env.ONLY?.split(',')
const kind = process.env.KIND
const chosen = MUTANTS.filter(
  (mutant) => (!only || only.includes(mutant.rule)) && (!kind || mutant.killer.kind === kind),
)

type Result = 'killed' | 'SURVIVED' | 'BROKEN'

const label = (killer: Killer) =>
  killer.kind === 'model'
    ? `model, ${killer.schedules} schedules`
    : `${killer.file}${killer.name && `: ${killer.name}`}`

const tree = await copyTree(join(tmpdir(), `millrace-mutants-${process.pid}`))
const results: { mutant: Mutant; result: Result; said: string }[] = []
const sound = new Map<string, Verdict>()
for (const mutant of chosen) {
  const { result, said } = await judge(tree, mutant)
  results.push({ mutant, result, said })
  const where = [...new Set(mutant.edits.map(({ file }) => file))].join(', ')
  console.log(
    `${result.padEnd(8)} ${mutant.rule.padEnd(4)} ${mutant.without} [${where}] — ${label(mutant.killer)}`,
  )
  if (said !== '') console.log(`              ${said.slice(0, 300)}`)
}
const count = (wanted: Result) => results.filter(({ result }) => result === wanted).length
console.log(`mutants: ${count('killed')} killed, ${count('SURVIVED')} survived, ${count('BROKEN')} broken`)
process.exit(count('killed') === results.length ? 0 : 1)

async function judge(of: Tree, mutant: Mutant): Promise<{ result: Result; said: string }> {
  const found = await withoutSafeguard(of, mutant)
  if (typeof found === 'string') return { result: 'BROKEN', said: found }
  if (found.failed === undefined) return { result: 'BROKEN', said: found.said }
  if (!found.failed) return { result: 'SURVIVED', said: '' }
  // A test that fails anyway proves nothing; of the model it is enough that the very same schedule passes.
  const key = JSON.stringify([mutant.killer, found.seed])
  const before = sound.get(key) ?? (await attack(mutant.killer, of.dir, found.seed))
  sound.set(key, before)
  if (before.failed !== false) return { result: 'BROKEN', said: `without the change already: ${before.said}` }
  return { result: 'killed', said: found.said }
}

async function withoutSafeguard(of: Tree, mutant: Mutant): Promise<Verdict | string> {
  let takeBack: () => Promise<void>
  try {
    takeBack = await of.apply(mutant.edits)
  } catch (error) {
    return (error as Error).message
  }
  try {
    return await attack(mutant.killer, of.dir)
  } finally {
    await takeBack()
  }
}
