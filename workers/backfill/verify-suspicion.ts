import { createMemory } from '../runtime/memory.ts'
import { keyText, type Suspect } from './suspects.ts'

/** The rows under suspicion, and what may be held in memory for them and for listings, whatever differs. */
export interface Suspicion {
  /** Waits for room for a listing of so many rows on both sides together, and holds that for as long as `work` takes. */
  withRoom<T>(rows: number, work: () => Promise<T>): Promise<T>
  /** False when the row is known already. */
  add(key: readonly string[], range: number): boolean
  /** Suspects that are looked at next: so many at most, and not too long together. */
  next(most: number): Suspect[]
  /** Puts it behind the others, so that each gets its turn. */
  again(suspect: Suspect): void
  remove(suspect: Suspect): void
  isEmpty(): boolean
  /** Lets everybody in who waits for room. */
  end(): void
}

/** Bytes of a listed row without its key's text, and of a suspect; measured as about 350. */
const ROW_BYTES = 400
/** Bytes of all keys of one side's listing, but for the last one. */
export const LISTED_KEY_BYTES = 1024 * 1024
/** What rows that are listed and suspects may take together: the pod has 256 MiB. */
const ROOM = 24 * 1024 * 1024
/** Characters of the keys of one bracket. */
const MOST_BATCH = 1024 * 1024

export function createSuspicion(signal: AbortSignal, room = ROOM): Suspicion {
  const memory = createMemory(room)
  const suspects = new Map<string, Suspect>()
  let isOver = false
  // A text and the key that it was made of; a character can take two bytes.
  const costOf = (text: string) => ROW_BYTES + 4 * text.length

  return {
    async withRoom(rows, work) {
      const wanted = rows * ROW_BYTES + 2 * LISTED_KEY_BYTES
      while (!isOver && memory.used() > 0 && memory.used() + wanted > room) await memory.changed(signal)
      memory.add(wanted)
      try {
        return await work()
      } finally {
        memory.remove(wanted)
      }
    },
    add(key, range) {
      const text = keyText(key)
      if (suspects.has(text)) return false
      suspects.set(text, { key, range, confirmed: 0, extra: '', brackets: 0 })
      memory.add(costOf(text))
      return true
    },
    next(most) {
      const batch: Suspect[] = []
      let characters = 0
      for (const [text, suspect] of suspects) {
        characters += text.length
        if (batch.length >= most || (batch.length > 0 && characters > MOST_BATCH)) break
        batch.push(suspect)
      }
      return batch
    },
    again(suspect) {
      const text = keyText(suspect.key)
      suspects.delete(text)
      suspects.set(text, suspect)
    },
    remove({ key }) {
      const text = keyText(key)
      if (suspects.delete(text)) memory.remove(costOf(text))
    },
    isEmpty: () => suspects.size === 0,
    end() {
      isOver = true
      memory.remove(0)
    },
  }
}
