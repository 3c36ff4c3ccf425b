import { edit } from '../mutant.ts'

// Worlds in which one thing matters: what is rare otherwise is made frequent, and what would hide it is left out.
export const LONG = { commit: 2, begin: 6, write: 12 }
export const SLOW = { replay: 1.5 }
export const RETYPE = { retype: 0.6 }
export const REPLICA = { readFrom: 'Replica', seedRows: 4 } as const
export const PRIMARY = { readFrom: 'Primary', seedRows: 4 } as const

/** Replicas are read without waiting until they have everything. */
export const NO_REPLAY_WAIT = edit('workers/backfill/server.ts', [
  '    if (wait === undefined) return true\n',
  '    if (wait !== null) return true\n',
])
export const NO_REPLAY_CHECK = edit('workers/backfill/server.ts', [
  "      if (wait !== undefined) throw new MillraceError('ReplicaBehind', wait)\n",
  '',
])
