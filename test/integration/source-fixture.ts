import { afterEach, beforeAll } from 'vitest'
import { query } from '../../hack/services/postgres.ts'
import { type Connection, openConnection, type PostgresTarget } from '../../workers/source/connect.ts'
import { targetOf } from './postgres-target.ts'
import { createDatabase, type TestDatabase } from './services.ts'

export const signal = AbortSignal.timeout(600_000)
export const field = { field: 'spec.tables[0]' }
export const wait = { signal, deadlineMilliseconds: 20_000 }
export const named = (name: string) => ({ schema: 'public', name })

/** For a test file: a database of its own. Registers the hooks; a test's connections are closed at its end. */
export function useDatabase(name: string) {
  const opened: Connection[] = []
  let database: TestDatabase | undefined

  beforeAll(async () => {
    database = await createDatabase(name)
  })
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((connection) => connection.close()))
  })

  const made = () => {
    if (!database) throw new Error('the database has not been made yet')
    return database
  }
  const url = () => made().url
  return {
    url,
    /** The same database on the replica. */
    replicaUrl: () => made().replicaUrl,
    sql: (text: string) => query(url(), text),
    async connect(to = url(), change: Partial<PostgresTarget> = {}): Promise<Connection> {
      const connection = await openConnection(targetOf(to, change), { purpose: 'query', signal })
      opened.push(connection)
      return connection
    },
  }
}
