import { tableLabel } from '../../source/table.ts'
import type { Batch, FlushResult } from '../destination.ts'
import { inGroups } from './byte-groups.ts'
import type { RedshiftContext } from './context.ts'
import { MAX_STATEMENT_BYTES } from './data-api.ts'
import type { FlushRows } from './flush-rows.ts'
import { castLiteral } from './literals.ts'
import { quoteTableName } from './names.ts'
import type { RedshiftType } from './redshift-type.ts'
import { conflict } from './transitions.ts'
import { alive, BESIDE, sameKey, type Writing } from './write-sql.ts'

/** Keys that one query looks for, if they are short: each is a SELECT of its own. */
const LOOKED_FOR = 400
const BETWEEN = ' UNION ALL '

/** Which keys of a batch have unchanged columns and no row to take them from. */
export async function missingRows(
  { store }: RedshiftContext,
  batch: Batch,
  { writing, partial }: Pick<FlushRows, 'writing' | 'partial'>,
  signal: AbortSignal,
): Promise<FlushResult> {
  const found = partial.filter(({ orphaned }) => orphaned).map((each) => each.key)
  const keys = partial.filter(({ orphaned }) => !orphaned).map((each) => each.key)
  for (const sql of missingStatements(writing, keys)) {
    const answer = await store.query(
      sql,
      `millrace look for rows of ${tableLabel(batch.ledger.destination)}`,
      signal,
    )
    for (const row of answer) found.push(keys[Number(row.n)] as readonly string[])
  }
  // Whoever put them there since then has done so for the next try.
  if (found.length > 0) return { kind: 'missing', keys: found }
  throw conflict(`rows of ${tableLabel(batch.ledger.destination)} appeared while they were looked for`)
}

/** Which of some keys the table has no row for, as many statements as their texts need; a result's `n` is the place of the key. */
export function missingStatements(writing: Writing, keys: readonly (readonly string[])[]): string[] {
  const types = writing.key.map((index) => writing.columns[index]?.type as RedshiftType)
  const statement = (rows: readonly string[]) =>
    `SELECT ${BESIDE}.n FROM (${rows.join(BETWEEN)}) AS ${BESIDE} WHERE NOT EXISTS (SELECT 1 FROM ${quoteTableName(writing.table.name)} WHERE ${sameKey(writing, BESIDE)}${alive(writing)})`
  const rows = keys.map((key, n) => {
    const values = types.map(
      (type, place) => `${castLiteral(type, key[place] ?? '')} AS c${writing.key[place]}`,
    )
    return `SELECT ${n} AS n, ${values.join(', ')}`
  })
  const room = MAX_STATEMENT_BYTES - Buffer.byteLength(statement([]))
  // Bytes of a key, or its share of a statement that has as many as it may have.
  const size = (row: string) =>
    Math.max(Buffer.byteLength(row) + BETWEEN.length, Math.floor(room / LOOKED_FOR))
  return inGroups(rows, size, room).map(statement)
}
