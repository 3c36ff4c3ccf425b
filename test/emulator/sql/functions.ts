import { HOME } from './names.ts'

/** How a function of Redshift is called in PostgreSQL. */
export interface FunctionSpec {
  readonly min: number
  readonly max: number
  /** `leader` functions run on the leader node only: not together with user tables. */
  readonly where?: 'leader'
  readonly kind?: 'aggregate' | 'window'
  /** The first argument is a part of a date, which may be written without quotes. */
  readonly datePart?: boolean
  render(args: readonly string[]): string
}

const call =
  (name: string) =>
  (args: readonly string[]): string =>
    `${name}(${args.join(', ')})`

/** A function of that name in the emulator's schema. */
const own = (
  name: string,
  min: number,
  max = min,
  more: Partial<FunctionSpec> = {},
): [string, FunctionSpec] => [name, { min, max, render: call(`${HOME}.${name}`), ...more }]

/** A function that PostgreSQL has under that name, with the same meaning. */
const same = (
  name: string,
  min: number,
  max = min,
  more: Partial<FunctionSpec> = {},
): [string, FunctionSpec] => [name, { min, max, render: call(`pg_catalog.${name}`), ...more }]

/** Another name of a function. */
const alias = (name: string, target: [string, FunctionSpec]): [string, FunctionSpec] => [name, target[1]]

const written = (
  name: string,
  min: number,
  max: number,
  render: (args: readonly string[]) => string,
  more = {},
) => [name, { min, max, render, ...more }] satisfies [string, FunctionSpec]

const ANY = 100
const aggregate = { kind: 'aggregate' } as const
const window = { kind: 'window' } as const
const leader = { where: 'leader' } as const

const length = own('len', 1)
const substring = own('substring', 2, 3)
const coalesce = written('coalesce', 1, ANY, call('coalesce'))

/** Every function the emulator knows. What is not here is refused. */
export const FUNCTIONS: ReadonlyMap<string, FunctionSpec> = new Map<string, FunctionSpec>([
  // text
  length,
  alias('length', length),
  alias('char_length', length),
  alias('character_length', length),
  own('octet_length', 1),
  own('lower', 1),
  own('upper', 1),
  own('initcap', 1),
  own('btrim', 1, 2),
  own('ltrim', 1, 2),
  own('rtrim', 1, 2),
  substring,
  alias('substr', substring),
  own('left', 2),
  own('right', 2),
  own('strpos', 2),
  own('charindex', 2),
  own('replace', 3),
  own('concat', 2),
  own('lpad', 2, 3),
  own('rpad', 2, 3),
  own('repeat', 2),
  own('reverse', 1),
  own('split_part', 3),
  own('translate', 3),
  own('chr', 1),
  own('ascii', 1),
  own('md5', 1),
  own('sha2', 2),
  own('quote_ident', 1),
  own('quote_literal', 1),
  own('to_char', 2),
  // numbers
  same('abs', 1),
  same('ceil', 1),
  same('ceiling', 1),
  same('floor', 1),
  same('round', 1, 2),
  written('trunc', 1, 2, call(`${HOME}.trunc`)),
  same('mod', 2),
  same('sign', 1),
  same('power', 2),
  same('sqrt', 1),
  same('exp', 1),
  same('ln', 1),
  same('log', 1),
  same('random', 0),
  own('strtol', 2),
  // conditions
  coalesce,
  alias('nvl', coalesce),
  written('nvl2', 3, 3, ([a, b, c]) => `CASE WHEN (${a}) IS NOT NULL THEN ${b} ELSE ${c} END`),
  written('nullif', 2, 2, call('nullif')),
  written('greatest', 1, ANY, call('greatest')),
  written('least', 1, ANY, call('least')),
  // dates
  written(
    'getdate',
    0,
    0,
    () => `pg_catalog.timezone('UTC', pg_catalog.statement_timestamp())::timestamp(0)`,
  ),
  written('sysdate', 0, 0, () => `pg_catalog.timezone('UTC', pg_catalog.transaction_timestamp())`),
  written(
    'current_date',
    0,
    0,
    () => `(pg_catalog.timezone('UTC', pg_catalog.transaction_timestamp())::date)`,
  ),
  own('date_trunc', 2),
  own('date_part', 2, 2, { datePart: true }),
  own('dateadd', 3, 3, { datePart: true }),
  own('datediff', 3, 3, { datePart: true }),
  own('timezone', 2),
  // SUPER
  own('json_parse', 1),
  own('json_serialize', 1),
  own('can_json_parse', 1),
  own('json_typeof', 1),
  own('json_size', 1),
  // VARBYTE
  own('from_hex', 1),
  own('to_hex', 1),
  own('to_varbyte', 2),
  own('from_varbyte', 2),
  // aggregates and windows
  written('count', 0, 1, call('pg_catalog.count'), aggregate),
  same('sum', 1, 1, aggregate),
  same('min', 1, 1, aggregate),
  same('max', 1, 1, aggregate),
  same('bool_and', 1, 1, aggregate),
  same('bool_or', 1, 1, aggregate),
  same('any_value', 1, 1, aggregate),
  written('listagg', 1, 2, ([a, b]) => `pg_catalog.string_agg(${HOME}.exact(${a}), ${b ?? "''"})`, aggregate),
  same('row_number', 0, 0, window),
  same('rank', 0, 0, window),
  same('dense_rank', 0, 0, window),
  same('lag', 1, 2, window),
  same('lead', 1, 2, window),
  same('first_value', 1, 1, window),
  same('last_value', 1, 1, window),
  // the session
  written('current_user', 0, 0, () => `${HOME}.current_user_name()`),
  written('session_user', 0, 0, () => `${HOME}.current_user_name()`),
  written('user', 0, 0, () => `${HOME}.current_user_name()`),
  written('current_database', 0, 0, () => `${HOME}.current_database_name()`),
  written('db_collation', 0, 0, () => `pg_catalog.current_setting('${HOME}.collation')::bpchar`),
  written('current_schema', 0, 0, () => 'pg_catalog.current_schema()::bpchar', leader),
  written('version', 0, 0, () => `${HOME}.version()`, leader),
  written('pg_backend_pid', 0, 0, () => 'pg_catalog.pg_backend_pid()'),
  written('pg_last_copy_count', 0, 0, () => `${HOME}.session_number('last_copy_count')`),
  written('pg_last_copy_id', 0, 0, () => `${HOME}.session_number('last_copy_id')`),
  written('pg_last_query_id', 0, 0, () => `${HOME}.session_number('last_query_id')`),
  own('pg_cancel_backend', 1, 1, leader),
  own('pg_terminate_backend', 1, 1, leader),
  own('has_schema_privilege', 2, 3, leader),
  own('has_table_privilege', 2, 3, leader),
  own('has_database_privilege', 2, 3, leader),
])

/** PostgreSQL's that Redshift runs on its leader node at best, and of which a message can say so. */
export const LEADER_ONLY = new Set(
  'now current_timestamp current_time localtime localtimestamp age generate_series string_agg array_agg'.split(
    ' ',
  ),
)
