import type { PostgresTarget } from '../../workers/source/connect.ts'

/** What a worker connects to, of a URL with user and password. */
export function targetOf(url: string, change: Partial<PostgresTarget> = {}): PostgresTarget {
  const { hostname, port, pathname, username, password } = new URL(url)
  return {
    host: hostname,
    port: Number(port),
    database: pathname.slice(1),
    sslMode: 'Disable',
    field: 'spec.source.postgres',
    credentials: { mount: 'source', field: 'spec.source.postgres.credentialsSecretRef' },
    ca: undefined,
    secrets: { read: async (_mount, file) => (file === 'username' ? username : password) },
    process: 'test',
    ...change,
  }
}
