import { inGroups } from './byte-groups.ts'
import type { RowContent } from './ledger-rows.ts'
import { literal } from './literals.ts'

// The frame of every transaction on a table's ledger. Redshift enforces no key, knows no FOR SHARE, and a batch has no IF; so:
//
// 1. LOCK of the ledger's table comes first. It is exclusive and held to the end, and Redshift takes a transaction's snapshot
//    with the first statement after it. So transactions on one table's ledger come one after the other, each sees what those
//    before it committed, and there is nothing that error 1023 could be about. Only one replicated table is locked: others,
//    which have tables of their own in the ledger, go on.
// 2. A guard: a SELECT that divides by zero, and so fails the transaction, unless the rows are at the versions that everything
//    was decided by.
// 3. The rows that are written move on by one version. Every transaction of a backfill (action, plan, split, chunk, its end)
//    writes the backfill's row, every flush the table's; recording and ending a hold write both. So two of them that were decided
//    by the same version never both commit, even if the lock did not do what the first point says: under SERIALIZABLE both have
//    read and written the same table (1023), under SNAPSHOT both have changed the same row.

/** A row that has to be at a version; undefined: that must not be there. */
export interface Expectation {
  readonly id: string
  readonly version: bigint | undefined
}

export interface RowWrite {
  readonly content: RowContent
  /** Version that the row has before; undefined: it is new. */
  readonly from: bigint | undefined
  /** Version of a new row; 1 unless said. */
  readonly first?: bigint
}

export function lockSQL(tables: readonly string[]): string {
  return `LOCK ${tables.join(', ')}`
}

/** Fails by a division by zero unless `condition`, over the rows of `from`, is true. */
export function assertSQL(condition: string, from = ''): string {
  return `SELECT 1 / CASE WHEN ${condition} THEN 1 ELSE 0 END AS held${from === '' ? '' : ` FROM ${from}`}`
}

/** Fails unless all rows are as expected. */
export function guardSQL(ledger: string, expectations: readonly Expectation[]): string {
  const there = expectations.filter(({ version }) => version !== undefined)
  const absent = expectations.filter(({ version }) => version === undefined)
  // Each that is there counts once; each that should not be makes the sum too large.
  const cases = [
    ...there.map(({ id, version }) => `WHEN id = ${literal(id)} AND version = ${version} THEN 1`),
    ...absent.map(({ id }) => `WHEN id = ${literal(id)} THEN ${there.length + 1}`),
  ]
  const ids = expectations.map(({ id }) => literal(id)).join(', ')
  return assertSQL(
    `COALESCE(SUM(CASE ${cases.join(' ')} ELSE 0 END), 0) = ${there.length}`,
    `${ledger} WHERE id IN (${ids})`,
  )
}

/** Largest JSON of a row: a row of a result may have 64 KB. */
const MAX_FACTS = 60_000
/** Bytes of values in one INSERT or UPDATE. */
const STATEMENT_ROOM = 80_000

/** Statements that write rows, few as they can be. `token` marks the first row. */
export function writeSQL(ledger: string, writes: readonly RowWrite[], token: string): string[] {
  const rows = writes.map(({ content, from, first = 1n }, index) => ({
    id: literal(content.id),
    state: literal(content.state),
    from,
    first,
    facts: literal(factsText(index === 0 ? { ...content.facts, token } : content.facts)),
  }))
  const groups = (some: typeof rows, size: (row: (typeof rows)[number]) => number) =>
    inGroups(some, (row) => size(row) + 40, STATEMENT_ROOM)
  const inserts = rows.filter(({ from }) => from === undefined)
  const updates = rows.filter(({ from }) => from !== undefined)
  return [
    ...groups(updates, (row) => bytesOf(row.facts, row.id, row.id, row.id, row.state)).map((group) => {
      const pick = (value: (row: (typeof group)[number]) => string) =>
        group.length === 1 && group[0]
          ? value(group[0])
          : `CASE id ${group.map((row) => `WHEN ${row.id} THEN ${value(row)}`).join(' ')} END`
      return `UPDATE ${ledger} SET state = ${pick((row) => row.state)}, version = version + 1, facts = ${pick((row) => row.facts)}, changed_at = SYSDATE WHERE id IN (${group.map(({ id }) => id).join(', ')})`
    }),
    ...groups(inserts, (row) => bytesOf(row.facts, row.id, row.state)).map(
      (group) =>
        `INSERT INTO ${ledger} (id, state, version, facts) VALUES ${group
          .map(({ id, state, first, facts }) => `(${id}, ${state}, ${first}, ${facts})`)
          .join(', ')}`,
    ),
  ]
}

function factsText(facts: RowContent['facts']): string {
  const text = JSON.stringify(facts)
  if (Buffer.byteLength(text) <= MAX_FACTS) return text
  // Of what is in the ledger only messages can be this long without being needed to the letter.
  const shorter = Object.fromEntries(
    Object.entries(facts).map(([name, value]) => [
      name,
      /message$/i.test(name) && typeof value === 'string' ? value.slice(0, 2_000) : value,
    ]),
  )
  return JSON.stringify(shorter)
}

function bytesOf(...texts: readonly string[]): number {
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
}

/** Table of one replicated table's state. Five columns in one place on each node: a table takes its room by both. */
export function createLedgerSQL(ledger: string): string {
  return `CREATE TABLE IF NOT EXISTS ${ledger} (id VARCHAR(256) NOT NULL, state VARCHAR(16) NOT NULL, version BIGINT NOT NULL, facts VARCHAR(65535) NOT NULL, changed_at TIMESTAMP NOT NULL DEFAULT SYSDATE) DISTSTYLE ALL`
}
