import { MillraceError } from '../../lib/errors.ts'

/** What a snapshot of PostgreSQL sees, as `pg_snapshot` writes it: `xmin:xmax:xip,xip,…`. */
export interface Visibility {
  /** Everything before it has ended. */
  readonly xmin: bigint
  /** Nothing from it on is seen. */
  readonly xmax: bigint
  /** In between: those that were running. */
  readonly running: ReadonlySet<bigint>
}

/** Reads the text of a `pg_snapshot`. Throws `Internal` when it is none. */
export function parseVisibility(text: string): Visibility {
  const match = /^(\d+):(\d+):(\d+(?:,\d+)*)?$/.exec(text)
  if (!match) throw new MillraceError('Internal', `not a snapshot: ${JSON.stringify(text)}`)
  const running = (match[3] ?? '').split(',').filter((xid) => xid !== '')
  return { xmin: BigInt(match[1] ?? 0), xmax: BigInt(match[2] ?? 0), running: new Set(running.map(BigInt)) }
}

const CYCLE = 1n << 32n

/**
 * Whether the snapshot saw what a transaction did (rule R14): then the scan has copied it, and its changes must not be applied
 * again.
 *
 * @param xid 32 bits, as in the queue; taken for the one of that number that is nearest to the snapshot
 */
export function wasSeen(snapshot: Visibility, xid: number): boolean {
  const full = nearest(BigInt(xid), snapshot.xmax)
  if (full < snapshot.xmin) return true
  return full < snapshot.xmax && !snapshot.running.has(full)
}

/** Transaction numbers of the log are cut to 32 bits; those that can meet are less than half a cycle apart. */
function nearest(xid: bigint, to: bigint): bigint {
  const full = to - (to % CYCLE) + xid
  if (full - to > CYCLE / 2n) return full - CYCLE
  return to - full > CYCLE / 2n ? full + CYCLE : full
}
