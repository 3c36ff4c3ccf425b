import { expect, it, vi } from 'vitest'
import { createGarbage } from './garbage.ts'

it('is collected each time that so much of it lies about', () => {
  const collect = vi.fn()
  const garbage = createGarbage(collect, 100)
  garbage.add(99)
  expect(collect).not.toHaveBeenCalled()
  garbage.add(1)
  expect(collect).toHaveBeenCalledTimes(1)
  garbage.add(99)
  expect(collect).toHaveBeenCalledTimes(1)
  garbage.add(1000)
  expect(collect).toHaveBeenCalledTimes(2)
})
