import { describe, expect, it } from 'vitest'
import type { Suspect } from './suspects.ts'
import { createSuspicion, LISTED_KEY_BYTES } from './verify-suspicion.ts'

const never = new AbortController().signal
const LISTING = 2 * LISTED_KEY_BYTES

describe('the room for what differs', () => {
  it('lets the next listing in when enough is known about the suspects of the last', async () => {
    const suspicion = createSuspicion(never, LISTING + 50_000)
    await suspicion.withRoom(10, async () => {
      for (let id = 0; id < 1000; id += 1) suspicion.add([String(id)], 0)
    })
    let isIn = false
    const listing = suspicion.withRoom(10, async () => {
      isIn = true
    })
    for (const suspect of suspicion.next(800)) suspicion.remove(suspect)
    await Promise.resolve()
    expect(isIn).toBe(false)
    for (const suspect of suspicion.next(150)) suspicion.remove(suspect)
    await listing
    expect(isIn).toBe(true)
  })

  it('lets in whoever waits, when it is over', async () => {
    const suspicion = createSuspicion(never, LISTING)
    suspicion.add(['1'], 0)
    const listing = suspicion.withRoom(10, async () => 'done')
    suspicion.end()
    expect(await listing).toBe('done')
  })

  it('breaks off the wait', async () => {
    const stop = new AbortController()
    const suspicion = createSuspicion(stop.signal, LISTING)
    suspicion.add(['1'], 0)
    const listing = suspicion.withRoom(10, async () => 'done')
    stop.abort(new Error('stopped'))
    await expect(listing).rejects.toThrow('stopped')
  })

  it('looks at a row once, at others before again, and at few with long keys', () => {
    const suspicion = createSuspicion(never)
    expect([suspicion.add(['1'], 0), suspicion.add(['1'], 0), suspicion.add(['2'], 0)]).toEqual([
      true,
      false,
      true,
    ])
    const [first] = suspicion.next(10) as [Suspect]
    suspicion.again({ ...first, brackets: 1 })
    expect(suspicion.next(10)).toMatchObject([{ key: ['2'] }, { key: ['1'], brackets: 1 }])
    for (let id = 0; id < 10; id += 1) suspicion.add([`${id}${'x'.repeat(300_000)}`], 0)
    expect(suspicion.next(10)).toHaveLength(5)
  })
})
