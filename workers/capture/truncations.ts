/** Which transactions were seen in the log to truncate a table, by the table's oid. */
export interface Truncations {
  add(oid: number, xid: number): void
  has(oid: number, xid: number): boolean
}

/** Of each table; more do not happen between two looks at the catalog. */
const KEPT = 1_000

export function createTruncations(): Truncations {
  const seen = new Map<number, Set<number>>()
  return {
    add(oid, xid) {
      const xids = seen.get(oid) ?? new Set()
      seen.set(oid, xids.add(xid))
      const [oldest] = xids
      if (xids.size > KEPT && oldest !== undefined) xids.delete(oldest)
    },
    has: (oid, xid) => seen.get(oid)?.has(xid) ?? false,
  }
}
