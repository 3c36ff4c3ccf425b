/**
 * What a connection to PostgreSQL is for; decides its time-outs.
 *
 * - `query`: short statements; given up after a minute, so that a crashed pod never leaves a lock behind for long
 * - `scan`: long reads and the session that holds an exported snapshot
 * - `load`: long writes into a destination
 * - `replication`: the stream of the replication slot
 */
export type SessionPurpose = 'query' | 'scan' | 'load' | 'replication'

/**
 * The settings of every session that Millrace opens, on sources and destinations alike.
 *
 * The text of a value depends on most of them, and a row read by a scan must be written exactly as the same row read from
 * the log (invariant I10). So there is one list, for all of them.
 */
export function sessionSettings(purpose: SessionPurpose): Readonly<Record<string, string>> {
  return {
    client_encoding: 'UTF8',
    DateStyle: 'ISO',
    IntervalStyle: 'postgres',
    TimeZone: 'UTC',
    extra_float_digits: '3',
    bytea_output: 'hex',
    xmlbinary: 'base64',
    // Fragments are values of the type xml as well as documents are.
    xmloption: 'content',
    // Rows travel in arrays; off, the NULLs of an array become texts that say so.
    array_nulls: 'on',
    lc_monetary: 'C',
    // Names of types, and values of types such as regclass, are written with their schema unless it is pg_catalog.
    search_path: 'pg_catalog',
    standard_conforming_strings: 'on',
    quote_all_identifiers: 'off',
    // A row that a policy would hide is an error, not a missing row.
    row_security: 'off',
    jit: 'off',
    // An error ends its statement: what was wrong is looked up in the same session.
    exit_on_error: 'off',
    // More than that many rows found through a GIN index would be cut down to some of them.
    gin_fuzzy_search_limit: '0',
    default_transaction_isolation: 'read\\ committed',
    default_transaction_read_only: 'off',
    default_transaction_deferrable: 'off',
    statement_timeout: purpose === 'query' ? '60s' : '0',
    lock_timeout: purpose === 'replication' ? '0' : '30s',
    idle_in_transaction_session_timeout: purpose === 'query' ? '60s' : '0',
    idle_session_timeout: '0',
    // The server finds out within a minute that a pod is gone, and gives free what its sessions held.
    tcp_keepalives_idle: '30',
    tcp_keepalives_interval: '10',
    tcp_keepalives_count: '3',
    ...(purpose === 'replication' ? { wal_sender_timeout: '60s' } : {}),
  }
}

/** The settings as the `options` of a startup packet. */
export function sessionOptions(purpose: SessionPurpose): string {
  return Object.entries(sessionSettings(purpose))
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(' ')
}
