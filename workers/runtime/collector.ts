import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * Frees what buffers leave behind.
 *
 * V8 sees a buffer as a small object and lets tens of megabytes of dead ones pile up before it looks. That is fine as long as
 * little passes; a few rows of 30 MB, each copied once on its way, would add up to a multiple of the memory that a worker
 * is allowed. So while much passes, and only then, the collector is called by hand.
 */
export interface Collector {
  /** Frees buffers that were allocated a moment ago: the socket's chunks. About a millisecond. */
  recent(): void
  /** Frees everything. Some ten milliseconds. */
  everything(): void
}

type Collect = (options?: { type: 'minor' }) => void

let collect: Collect | undefined

export const collector: Collector = {
  recent() {
    expose()({ type: 'minor' })
  },
  everything() {
    expose()()
  },
}

function expose(): Collect {
  if (collect) return collect
  setFlagsFromString('--expose-gc')
  collect = runInNewContext('gc') as Collect
  return collect
}
