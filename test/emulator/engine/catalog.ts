import type { DataType, TableConstraint, TableRef } from '../sql/ast.ts'
import { RedshiftError } from '../sql/errors.ts'
import { displayTable, HOME, postgresName, sqlTable } from '../sql/names.ts'
import type { Backend } from './backends.ts'
import { serializationError } from './tracker.ts'

export interface ColumnInfo {
  readonly attnum: number
  readonly name: string
  readonly type: DataType
  readonly notNull: boolean
  readonly defaultSql: string | null
  readonly encode: string | null
  readonly distkey: boolean
  /** Position in the sort key, from 1; 0 when it is not in it. */
  readonly sortkey: number
  readonly identity: string | null
}

export interface ConstraintInfo {
  readonly name: string
  readonly kind: TableConstraint['kind']
  readonly columns: readonly string[]
}

export interface TableInfo {
  readonly oid: number
  readonly ref: TableRef
  readonly kind: 'table' | 'view'
  readonly columns: readonly ColumnInfo[]
  /** Tables that a view reads; a table reads itself. */
  readonly bases: readonly number[]
}

const notThere = (ref: TableRef) =>
  new RedshiftError('42P01', `relation "${displayTable(ref)}" does not exist`)

/**
 * Looks tables up as the transaction's snapshot knows them. `42P01` when one is not there, error 1018 when it is there but
 * was made after the snapshot.
 */
export async function resolveTables(
  backend: Backend,
  refs: readonly TableRef[],
): Promise<Map<TableRef, TableInfo>> {
  const found = new Map<TableRef, TableInfo>()
  if (refs.length === 0) return found
  const names = refs.map(sqlTable)
  const { rows } = await backend.query(RESOLVE, [names])
  const columns = await readColumns(
    backend,
    rows.map((row) => Number(row[1])),
  )
  for (const [index, ref] of refs.entries()) {
    const [, oid, kind, known, bases] = rows[index] as (string | null)[]
    if (oid === null || oid === undefined) throw notThere(ref)
    if (known !== 't') throw serializationError1018()
    found.set(ref, {
      oid: Number(oid),
      ref,
      kind: kind === 'v' ? 'view' : 'table',
      columns: columns.get(Number(oid)) ?? [],
      bases: (bases ?? '').split(',').filter(Boolean).map(Number),
    })
  }
  return found
}

const serializationError1018 = () => {
  const error = serializationError('Relation does not exist')
  return new RedshiftError(error.sqlstate, '1018', error.detail)
}

const RESOLVE = `
  with named as (select n, i, to_regclass(n)::oid as oid from unnest($1::text[]) with ordinality as t(n, i))
  select n, oid,
    (select relkind::text from ${HOME}.relations r join pg_class c using (oid) where r.oid = named.oid),
    case when exists (select from ${HOME}.relations r where r.oid = named.oid) then 't' else 'f' end,
    (with recursive used(oid) as (
       select named.oid
       union
       select d.refobjid from used u join pg_rewrite w on w.ev_class = u.oid
         join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
         and d.refclassid = 'pg_class'::regclass and d.refobjid <> u.oid
     ) select string_agg(oid::text, ',') from used)
  from named order by i`

async function readColumns(backend: Backend, oids: readonly number[]): Promise<Map<number, ColumnInfo[]>> {
  const { rows } = await backend.query(
    `select relation, attnum, name, kind, length, scale, not_null, default_sql, encode, distkey, sortkey, identity
     from ${HOME}.columns where relation = any($1::oid[]) order by relation, attnum`,
    [oids.filter(Boolean)],
  )
  const columns = new Map<number, ColumnInfo[]>()
  for (const row of rows) {
    const oid = Number(row[0])
    const list = columns.get(oid) ?? []
    list.push(columnOf(row))
    columns.set(oid, list)
  }
  return columns
}

function columnOf(row: readonly (string | null)[]): ColumnInfo {
  const [, attnum, name, kind, length, scale, notNull, defaultSql, encode, distkey, sortkey, identity] = row
  return {
    attnum: Number(attnum),
    name: name ?? '',
    type: {
      kind: kind as DataType['kind'],
      ...(length !== null && { length: Number(length) }),
      ...(scale !== null && { scale: Number(scale) }),
    },
    notNull: notNull === 't',
    defaultSql: defaultSql ?? null,
    encode: encode ?? null,
    distkey: distkey === 't',
    sortkey: Number(sortkey),
    identity: identity ?? null,
  }
}

/** What a table has beside its columns, as SVV_TABLE_INFO tells it. */
export interface TableFacts {
  readonly temporary: boolean
  readonly diststyle: string
  readonly sortkeyStyle: string
  readonly backup: boolean
  readonly encodeAuto: boolean
}

/** Records a relation that was just made, with its columns in the order of their attribute numbers. */
export async function recordTable(
  backend: Backend,
  ref: TableRef,
  facts: TableFacts,
  columns: readonly Omit<ColumnInfo, 'attnum'>[],
  constraints: readonly ConstraintInfo[],
): Promise<number> {
  await recordNames(backend, [ref.schema ?? '', ref.name, ...columns.map(({ name }) => name)])
  const { rows } = await backend.query(
    `insert into ${HOME}.relations (oid, name, temporary, diststyle, sortkey_style, backup, encode_auto)
     values ($1::regclass, $2, $3, $4, $5, $6, $7) returning oid`,
    [
      sqlTable(ref),
      ref.name,
      facts.temporary,
      facts.diststyle,
      facts.sortkeyStyle,
      facts.backup,
      facts.encodeAuto,
    ],
  )
  const oid = Number(rows[0]?.[0])
  for (const [index, column] of columns.entries())
    await recordColumn(backend, oid, { attnum: index + 1, ...column })
  for (const constraint of constraints) await recordConstraint(backend, oid, constraint)
  return oid
}

export async function recordColumn(backend: Backend, oid: number, column: ColumnInfo) {
  const { attnum, name, type, notNull, defaultSql, encode, distkey, sortkey, identity } = column
  await backend.query(
    `insert into ${HOME}.columns values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
    [
      oid,
      attnum,
      name,
      type.kind,
      type.length ?? null,
      type.scale ?? null,
      notNull,
      defaultSql,
      encode,
      distkey,
      sortkey,
      identity,
    ],
  )
}

export async function recordConstraint(backend: Backend, oid: number, constraint: ConstraintInfo) {
  await backend.query(`insert into ${HOME}.constraints values ($1, $2, $3, $4)`, [
    oid,
    constraint.name,
    constraint.kind,
    constraint.columns,
  ])
}

export async function readConstraints(backend: Backend, oid: number): Promise<ConstraintInfo[]> {
  const { rows } = await backend.query(
    `select name, kind, to_json(columns)::text from ${HOME}.constraints where relation = $1 order by name`,
    [oid],
  )
  return rows.map(([name, kind, columns]) => ({
    name: name ?? '',
    kind: kind as ConstraintInfo['kind'],
    columns: JSON.parse(columns ?? '[]'),
  }))
}

/** Remembers the whole of names that PostgreSQL holds only in part. */
export async function recordNames(backend: Backend, names: readonly string[]) {
  for (const name of names) {
    const short = postgresName(name)
    if (short === name) continue
    await backend.query(`insert into ${HOME}.long_names values ($1, $2) on conflict do nothing`, [
      short,
      name,
    ])
  }
}
