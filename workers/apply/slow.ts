import type { ApplyEnv } from './env.ts'
import type { TableState } from './state.ts'

/** After this it is told, milliseconds. */
const SLOW = 60_000
const WAITING =
  'the destination has not answered for more than a minute: it is slow, or somebody has locked the table or what the ledger has of it'

/**
 * Waits for the destination. What takes longer than a minute is no failure, since the table goes on by itself once a lock is
 * gone; so it says in the status and the log what it waits for.
 */
export async function tellSlow<T>(
  env: Pick<ApplyEnv, 'log' | 'changed'>,
  state: TableState,
  work: Promise<T>,
): Promise<T> {
  const timer = setTimeout(() => {
    state.waiting = WAITING
    env.log.warn({ table: state.label, reason: WAITING }, 'Table waits')
    env.changed(true)
  }, SLOW)
  try {
    return await work
  } finally {
    clearTimeout(timer)
    if (state.waiting === WAITING) {
      state.waiting = undefined
      env.changed(false)
    }
  }
}
