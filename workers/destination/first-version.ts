/**
 * The version that a table's ledger row begins with, one that no earlier row of the table has ever had. A row goes when its
 * table is given free, and comes back when it is claimed anew; counted from 1 again, a process that was cut off meanwhile and
 * still knows the old row would meet its own version, and write (invariant I4, found by the model).
 *
 * @returns microseconds since 1970, with a random part below the millisecond
 */
export function firstVersion(): bigint {
  return BigInt(Date.now()) * 1000n + BigInt(Math.floor(Math.random() * 1000))
}
