import { createBackoff } from '../../lib/backoff.ts'
import { toMillraceError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { sleep } from '../../lib/sleep.ts'
import { type ColumnFilter, type TableName, tableLabel } from '../source/table.ts'
import { createTypeNames, readKey } from './catalog.ts'
import type { CatalogWatch } from './catalog-watch.ts'
import type { Changes } from './changes.ts'
import type { Directory } from './directory.ts'
import { describeMessage } from './log-messages.ts'
import type { RelationMessage } from './pgoutput.ts'
import { makeRelation } from './relations.ts'
import type { SqlSession } from './sql-session.ts'
import type { Lookups } from './stream-loop.ts'

export interface LookupOptions {
  readonly changes: Changes
  readonly directory: Directory
  readonly sql: SqlSession
  readonly watch: CatalogWatch
  readonly epoch: number
  readonly filterOf: (table: TableName) => ColumnFilter | undefined
  /** The tables of the Pipeline. */
  readonly tables: () => readonly TableName[]
  readonly log: Logger
  /** The stream waits for the source's catalog because of this error; undefined: no longer. */
  readonly onTrouble: (thrown: unknown) => void
}

/** What the stream has to ask the catalog and the queue before it can go on. */
export function createLookups(options: LookupOptions): Lookups {
  const { changes, directory, sql, watch, log } = options
  const typeNames = createTypeNames()

  // The stream waits for this, and must not be given up because another connection has a bad moment.
  async function insist<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const backoff = createBackoff(200, 5_000)
    for (;;) {
      try {
        const result = await work()
        if (backoff.attempts() > 0) options.onTrouble(undefined)
        return result
      } catch (thrown) {
        signal.throwIfAborted()
        if (!toMillraceError(thrown).retryable) throw thrown
        options.onTrouble(thrown)
        await sleep(backoff.next(), signal)
      }
    }
  }

  /** Whether the log has changes of this table under another name than its own: those come to another topic. */
  function isSameUnder(table: TableName, message: RelationMessage): boolean {
    const isNamedSo = table.schema === message.schema && table.name === message.name
    return !isNamedSo && directory.fingerprint(table)?.oid === message.oid
  }

  return {
    async relation({ message, xid }, signal) {
      const table = { schema: message.schema, name: message.name }
      const channel = await insist(() => directory.channel(table, signal), signal)
      const away = options.tables().find((one) => isSameUnder(one, message))
      if (away) {
        await insist(() => directory.channel(away, signal), signal)
        watch.wasAway(away, table)
      }
      const key = await insist(
        () =>
          sql.use(async (connection) => {
            await typeNames.learn(connection, message.columns)
            const named = message.columns.map(({ name }) => name)
            const types = typeNames.known(message.columns)?.types ?? []
            await watch.look(connection, table, message.oid, { named, types, xid })
            return await readKey(connection, message.oid)
          }),
        signal,
      )
      const named = typeNames.known(message.columns) ?? { types: [], behind: new Map() }
      const relation = makeRelation(
        message,
        channel,
        { ...named, key, added: watch.added(table) },
        options.epoch,
        options.filterOf(table),
      )
      log.debug(
        { table: tableLabel(table), key: relation.key, columns: named.types.length },
        'Table described',
      )
      changes.resolveRelation(relation)
    },
    async messages({ messages }, signal) {
      const channels = []
      for (const message of messages) {
        const table = { schema: message.schema, name: message.table }
        channels.push(await insist(() => directory.channel(table, signal), signal))
        log.info({ message: describeMessage(message) }, 'Watermark')
      }
      changes.resolveMessages(channels)
    },
  }
}
