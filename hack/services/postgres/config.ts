/** PostgreSQL settings, by name. */
export type Settings = Record<string, string | number | boolean>

export const baseSettings: Settings = {
  unix_socket_directories: '',
  max_connections: 200,
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '%m [%p] %u@%d/%a ',
  log_connections: 'on',
  log_disconnections: 'on',
  shared_preload_libraries: 'pg_stat_statements',
}

/** What a server needs to be the source of a Pipeline. */
export const primarySettings: Settings = {
  wal_level: 'logical',
  max_wal_senders: 20,
  max_replication_slots: 20,
}

/** Trades safety in a power cut, which no test makes, for speed. A killed server loses nothing by it. */
export const unsafeSettings: Settings = { fsync: 'off' }

/** Renders a configuration file; later settings replace earlier ones. */
export function renderSettings(...layers: readonly (Settings | undefined)[]): string {
  const merged: Settings = Object.assign({}, ...layers)
  return Object.entries(merged)
    .map(([name, value]) => `${name} = ${quote(String(value))}\n`)
    .join('')
}

/** Renders pg_hba.conf: passwords for everyone, from the loopback and from the given networks. */
export function renderHba(networks: readonly string[]): string {
  return ['127.0.0.1/32', '::1/128', ...networks]
    .flatMap((network) => [
      `host all all ${network} scram-sha-256\n`,
      `host replication all ${network} scram-sha-256\n`,
    ])
    .join('')
}

/** Quotes a value for a configuration file. */
export function quote(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

/** Quotes a value for a libpq connection string. */
export function quoteConnInfo(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
