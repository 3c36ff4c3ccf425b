// Every setting that a database or a role may carry and that changes what a statement, a value or an error means. Costs of the
// planner are not among them, nor where and how tables are stored: those are for whoever runs the server to say.
const HOSTILE: Readonly<Record<string, string>> = {
  array_nulls: 'off',
  backslash_quote: 'on',
  bytea_output: 'escape',
  check_function_bodies: 'off',
  client_encoding: 'LATIN1',
  client_min_messages: 'debug1',
  constraint_exclusion: 'on',
  DateStyle: 'German, DMY',
  debug_parallel_query: 'on',
  default_text_search_config: 'german',
  default_transaction_deferrable: 'on',
  default_transaction_isolation: 'serializable',
  default_transaction_read_only: 'on',
  enable_indexscan: 'off',
  enable_seqscan: 'off',
  enable_tidscan: 'off',
  escape_string_warning: 'off',
  exit_on_error: 'on',
  extra_float_digits: '-15',
  gin_fuzzy_search_limit: '1',
  idle_in_transaction_session_timeout: '1ms',
  idle_session_timeout: '1ms',
  IntervalStyle: 'sql_standard',
  lo_compat_privileges: 'on',
  lock_timeout: '1ms',
  plan_cache_mode: 'force_generic_plan',
  quote_all_identifiers: 'on',
  restrict_nonsystem_relation_kind: 'view, foreign-table',
  row_security: 'on',
  search_path: 'nowhere',
  session_replication_role: 'replica',
  standard_conforming_strings: 'off',
  statement_timeout: '1ms',
  synchronous_commit: 'off',
  TimeZone: 'America/New_York',
  timezone_abbreviations: 'Australia',
  transform_null_equals: 'on',
  wal_sender_timeout: '1s',
  xmlbinary: 'hex',
  xmloption: 'document',
}

/** SQL that gives a database all of them: sessions that begin later have them unless they say otherwise. */
export function hostileSettings(database: string): string {
  return Object.entries(HOSTILE)
    .map(([name, value]) => `alter database ${database} set ${name} to ${literal(name, value)};`)
    .join('\n')
}

/** URL for sessions of the test itself on such a database. */
export function unharmed(url: string): string {
  const settings = [
    'default_transaction_read_only=off',
    'idle_in_transaction_session_timeout=0',
    'idle_session_timeout=0',
    'lock_timeout=0',
    'search_path=public',
    'standard_conforming_strings=on',
    'statement_timeout=0',
  ]
  const changed = new URL(url)
  changed.searchParams.set('options', settings.map((setting) => `-c ${setting}`).join(' '))
  return changed.href
}

// A list in quotes would be one name with a comma in it.
function literal(name: string, value: string): string {
  return name === 'search_path' ? value : `'${value}'`
}
