import { expect, it } from 'vitest'
import { createGate } from './gate.ts'

function deferred() {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { promise, resolve }
}
const settle = () => new Promise((resolve) => setImmediate(resolve))

it('lets several in that need calm, and one that works alone only after them', async () => {
  const gate = createGate()
  const [first, second, last] = [deferred(), deferred(), deferred()]
  const log: string[] = []
  const enter = (name: string, until: Promise<void>) => async () => {
    log.push(`${name} begins`)
    await until
    log.push(`${name} ends`)
  }
  const all = [gate.calm(enter('a', first.promise)), gate.calm(enter('b', second.promise))]
  await settle()
  all.push(gate.alone(enter('x', last.promise)))
  all.push(gate.calm(enter('c', Promise.resolve())))
  await settle()
  expect(log).toEqual(['a begins', 'b begins'])
  first.resolve()
  await settle()
  expect(log.at(-1)).toBe('a ends')
  second.resolve()
  await settle()
  expect(log.at(-1)).toBe('x begins')
  last.resolve()
  await Promise.all(all)
  expect(log.slice(-3)).toEqual(['x ends', 'c begins', 'c ends'])
})

it('goes on after a failure', async () => {
  const gate = createGate()
  const failing = async () => {
    throw new Error('no')
  }
  await expect(gate.alone(failing)).rejects.toThrow('no')
  await expect(gate.calm(failing)).rejects.toThrow('no')
  expect(await gate.alone(async () => 1)).toBe(1)
  expect(await gate.calm(async () => 2)).toBe(2)
})
