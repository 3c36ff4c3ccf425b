import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createBaseline } from './baseline.ts'
import { attack, type Verdict } from './killers.ts'
import { MUTANTS } from './list.ts'
import type { Killer, Mutant } from './mutant.ts'
import { copyTree, type Tree } from './tree.ts'

/**
 * `make mutants [ONLY=R10,I5] [KIND=model,unit] [JOBS=2]`: takes the safeguards of the protocol away, one at a time and in a
 * copy of the tree, and shows which test notices. A safeguard that no test misses is not proven, so it fails.
 */
const only = process.env.ONLY?.split(',')
const kinds = process.env.KIND?.split(',')
const jobs = Number(process.env.JOBS ?? 2)
const chosen = MUTANTS.filter(
  (mutant) => (!only || only.includes(mutant.rule)) && (!kinds || kinds.includes(mutant.killer.kind)),
)

type Result = 'killed' | 'SURVIVED' | 'BROKEN'

interface Row {
  readonly mutant: Mutant
  readonly result: Result
  readonly said: string
  readonly seconds: number
}

const label = (killer: Killer) =>
  killer.kind === 'model'
    ? `model, ${killer.schedules} schedules`
    : `${killer.kind}, ${killer.file}${killer.name && `: ${killer.name}`}`

const baseline = createBaseline(chosen.map(({ killer }) => killer))
const rows: Row[] = []
const waiting = [...chosen]
// What fails first runs first; what needs servers of its own last.
const cost = { unit: 0, model: 1, integration: 2 } as const
waiting.sort((a, b) => cost[a.killer.kind] - cost[b.killer.kind])

async function work(tree: Tree): Promise<void> {
  for (let mutant = waiting.shift(); mutant; mutant = waiting.shift()) {
    const began = performance.now()
    const { result, said } = await judge(tree, mutant)
    const seconds = Math.round((performance.now() - began) / 1000)
    rows.push({ mutant, result, said, seconds })
    console.log(`${rows.length}/${chosen.length} ${result} ${mutant.rule} ${mutant.without} (${seconds} s)`)
    if (said !== '') console.log(`    ${said.slice(0, 300)}`)
  }
}

const trees = await Promise.all(
  Array.from({ length: Math.min(jobs, chosen.length) }, (_, index) =>
    copyTree(join(tmpdir(), `millrace-mutants-${process.pid}-${index}`)),
  ),
)
await Promise.all(trees.map(work))
await Promise.all(trees.map((tree) => tree.remove()))

console.log('\nresult    rule  without … — noticed by')
for (const mutant of chosen) {
  const row = rows.find((each) => each.mutant === mutant)
  console.log(
    `${row?.result.padEnd(8)}  ${mutant.rule.padEnd(4)}  ${mutant.without} — ${label(mutant.killer)}`,
  )
}
const count = (wanted: Result) => rows.filter(({ result }) => result === wanted).length
console.log(`mutants: killed=${count('killed')} survived=${count('SURVIVED')} broken=${count('BROKEN')}`)
process.exit(count('killed') === chosen.length ? 0 : 1)

async function judge(tree: Tree, mutant: Mutant): Promise<{ result: Result; said: string }> {
  const found = await withoutSafeguard(tree, mutant)
  if (typeof found === 'string') return { result: 'BROKEN', said: found }
  if (found.failed === undefined) return { result: 'BROKEN', said: found.said }
  if (!found.failed) return { result: 'SURVIVED', said: '' }
  const before = await baseline.of(mutant.killer, tree.dir, found.seed)
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
