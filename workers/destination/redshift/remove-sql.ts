import { quoteName, quoteTableName } from './names.ts'
import { MAX_VARCHAR, type RedshiftType } from './redshift-type.ts'
import { BESIDE, FLUSH_STAGE, qualifier, REMOVE, SOFT, type Writing } from './write-sql.ts'

/**
 * Takes away rows of a table without a key: of every staged row to be removed, exactly `n` equal ones. Redshift has nothing to tell
 * equal rows apart by, so all of them are taken out, numbered, and those too many put back.
 *
 * Staged rows that differ in the source may be equal here (1.0 and 1.00, two texts that were cut at one place), and are then one
 * row to be removed so often as all of them: each would find, and put back, the same rows.
 */
export function removeEqualSQL(writing: Writing, how: 'hard' | 'soft'): string[] {
  const { table, columns, softColumn } = writing
  const name = quoteTableName(table.name)
  const kept = '"millrace_kept"'
  const matches = (of: string) => [
    ...columns.map((column, index) =>
      equals(`${of}.${quoteName(column.name)}`, `${BESIDE}.c${index}`, column.type),
    ),
    ...(softColumn ? [`NOT COALESCE(${of}.${SOFT}, FALSE)`] : []),
  ]
  const all = [...table.columns.map((column) => quoteName(column.name))]
  const list = all.join(', ')
  const alike = columns.flatMap(({ type }, index) => comparedAs(`c${index}`, type)).join(', ')
  // Numbered by what is equal, and of that the first: to count and to number rows by.
  const numbered = `(SELECT DENSE_RANK() OVER (ORDER BY ${alike}) AS i, * FROM ${FLUSH_STAGE.name} WHERE o = '${REMOVE}') AS r`
  const staged = `(SELECT SUM(n) OVER (PARTITION BY i) AS removed, ROW_NUMBER() OVER (PARTITION BY i ORDER BY n) AS nth, * FROM ${numbered}) AS ${BESIDE}`
  const matched = `FROM ${name} AS t JOIN ${staged} ON ${[`${BESIDE}.nth = 1`, ...matches('t')].join(' AND ')}`
  return [
    `CREATE TEMP TABLE ${kept} AS SELECT ${all.map((column) => `t.${column}`).join(', ')}, ROW_NUMBER() OVER (PARTITION BY ${BESIDE}.i ORDER BY ${BESIDE}.i) AS millrace_nth, ${BESIDE}.removed AS millrace_removed ${matched}`,
    `DELETE FROM ${name} USING ${FLUSH_STAGE.name} AS ${BESIDE} WHERE ${[`${BESIDE}.o = '${REMOVE}'`, ...matches(qualifier(table))].join(' AND ')}`,
    `INSERT INTO ${name} (${list}) SELECT ${list} FROM ${kept} WHERE millrace_nth > millrace_removed`,
    ...(how === 'soft'
      ? [
          `INSERT INTO ${name} (${list}) SELECT ${all.map((column) => (column === SOFT ? 'TRUE' : column)).join(', ')} FROM ${kept} WHERE millrace_nth <= millrace_removed`,
        ]
      : []),
  ]
}

/** SQL: equal, or both NULL. Not by OR, so that rows can be found by hashing. */
function equals(a: string, b: string, type: RedshiftType): string {
  const [left, right] = [comparedAs(a, type), comparedAs(b, type)]
  return left.map((term, index) => `${term} = ${right[index]}`).join(' AND ')
}

/** SQL: terms that are the same for equal values, NULLs among them, and never NULL. */
function comparedAs(value: string, { kind }: RedshiftType): string[] {
  const isNull = `(${value} IS NULL)`
  switch (kind) {
    case 'varchar':
    case 'char':
      return [`COALESCE(${value}, '')`, `COALESCE(LEN(${value}), -1)`]
    case 'super':
      return [documentSQL(value)]
    case 'varbyte':
      return [`COALESCE(TO_HEX(${value}), '-')`]
    case 'boolean':
      return [`COALESCE(${value}, FALSE)`, isNull]
    case 'date':
      return [`COALESCE(${value}, DATE '1900-01-01')`, isNull]
    case 'time':
    case 'timetz':
    case 'timestamp':
    case 'timestamptz': {
      const moment = `'${kind.startsWith('timestamp') ? '1900-01-01 ' : ''}00:00:00'::${kind.toUpperCase()}`
      return [`COALESCE(${value}, ${moment})`, isNull]
    }
    default:
      return [`COALESCE(${value}, 0)`, isNull]
  }
}

/** SQL: a document's text, the same for equal ones. One that no VARCHAR has room for has none, and is never looked for (see `flushRows`). */
function documentSQL(value: string): string {
  // Of NULL, JSON_SERIALIZE makes the document null, and of a large one an error.
  return `CASE WHEN ${value} IS NULL THEN '' WHEN JSON_SIZE(${value}) > ${MAX_VARCHAR} THEN '-' ELSE JSON_SERIALIZE(${value}) END`
}
