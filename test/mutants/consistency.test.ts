import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { MUTANTS } from './list.ts'

const text = await readFile('docs/consistency.md', 'utf8')
const cases = [...text.matchAll(/^\| (\d+) +\| (.*) \| (.*) \|$/gm)].map(([, number, , covered]) => ({
  number: Number(number),
  covered: covered ?? '',
}))
const named = [...text.matchAll(/`([\w/.-]+) › ([^`]+)`/g)].map(([, place = '', title = '']) => ({
  place,
  title,
}))

describe('docs/consistency.md', () => {
  it('has each of the 85 cases once, with what covers it', () => {
    expect(cases.map(({ number }) => number)).toEqual(Array.from({ length: 85 }, (_, index) => index + 1))
    expect(cases.filter(({ covered }) => covered.trim() === '')).toEqual([])
  })

  it('names only tests that exist', async () => {
    expect(named.length).toBeGreaterThan(85)
    const missing: string[] = []
    for (const { place, title } of named)
      if (!(await exists(place, title))) missing.push(`${place} › ${title}`)
    expect(missing).toEqual([])
  })
})

describe('the mutants', () => {
  const rules = [
    ...Array.from({ length: 10 }, (_, index) => `I${index + 1}`),
    ...Array.from({ length: 25 }, (_, index) => `R${index + 1}`),
  ]

  it.each(rules)('take away %s', (rule) => {
    expect(MUTANTS.filter((mutant) => mutant.rule === rule)).not.toEqual([])
  })

  it('fit the code as it is', async () => {
    const unfit: string[] = []
    for (const { rule, edits } of MUTANTS) {
      for (const { file, find } of edits) {
        const count = (await readFile(file, 'utf8').catch(() => '')).split(find).length - 1
        if (count !== 1) unfit.push(`${rule}: ${file} has ${count} times: ${find}`)
      }
    }
    expect(unfit).toEqual([])
  })

  it('are killed by tests that exist', async () => {
    const missing: string[] = []
    for (const { rule, killer } of MUTANTS) {
      if (killer.kind === 'model') continue
      const source = await readTests(killer.file)
      if (source === '' || !source.includes(killer.name))
        missing.push(`${rule}: ${killer.file}: ${killer.name}`)
    }
    expect(missing).toEqual([])
  })
})

/** Whether a file has a string of this text: a title, a row of a table of cases, an action, a fault. */
async function exists(place: string, title: string): Promise<boolean> {
  if (place === 'test/model') return (await readFile('test/model/actions.ts', 'utf8')).includes(`  ${title}`)
  const file = place === 'test/torture' ? 'test/torture/faults.ts' : `${place}.test.ts`
  const source = await readTests(file)
  return (
    ["'", '"', '`'].some((quote) => source.includes(`${quote}${title}`)) || source.includes(`  ${title}: `)
  )
}

/** The text of a file of tests, with that of the contracts which it shares with others; empty when there is none. */
async function readTests(file: string): Promise<string> {
  const own = await readFile(file, 'utf8').catch(() => '')
  const shared = [...own.matchAll(/from '\.\/([\w-]+-contract-[\w-]+\.ts)'/g)]
  const texts = shared.map(([, name = '']) => readFile(join(dirname(file), name), 'utf8'))
  return [own, ...(await Promise.all(texts))].join('\n')
}
