import type { PipelineSpec } from '../../crds/pipeline.ts'
import { MillraceError } from '../../lib/errors.ts'
import { around } from '../../lib/failpoints.ts'
import type { Logger } from '../../lib/log.ts'
import type { Secrets } from '../runtime/context.ts'
import { readTableDefinition } from '../source/catalog.ts'
import type { Connection, PostgresTarget } from '../source/connect.ts'
import { isSameServer, readServerIdentity, type ServerIdentity } from '../source/identity.ts'
import type { SourceNames } from '../source/publication.ts'
import { assertReplica } from '../source/scan-server.ts'
import type { ColumnFilter, TableDefinition, TableName } from '../source/table.ts'
import { replicaTargets, sourceTarget } from '../source/targets.ts'
import { writeRelease } from '../source/watermark.ts'
import { pastOnPrimary, pastOnReplica, type Reread, type RereadRequest, readAgain } from './reread.ts'
import { createSourceSessions } from './sessions.ts'

/** What apply needs of the source beside the queue. */
export interface SourceReader {
  /** The table as the catalog has it now; undefined when there is none of that name. */
  definition(
    table: TableName,
    filter: ColumnFilter | undefined,
    signal: AbortSignal,
  ): Promise<TableDefinition | undefined>
  /** Reads rows again by key, on a server that is past their last change (rule R18). */
  reread(request: RereadRequest, signal: AbortSignal): Promise<Reread>
  /** Writes the release of a backfill again (rule R4). */
  writeRelease(uid: string, table: TableName, signal: AbortSignal): Promise<void>
  close(): void
}

export interface SourceReaderOptions {
  readonly spec: PipelineSpec
  readonly names: SourceNames
  readonly secrets: Secrets
  readonly log: Logger
}

const PROCESS = 'apply'

export function createSourceReader({ spec, names, secrets, log }: SourceReaderOptions): SourceReader {
  const sessions = createSourceSessions()
  const primary = sourceTarget(spec, secrets, PROCESS)
  const replicas = spec.backfill.readFrom === 'Primary' ? [] : replicaTargets(spec, secrets, PROCESS)
  /** Servers by address, as they were when they were last proven to be replicas of this primary. */
  const proven = new Map<string, ServerIdentity>()

  async function definition(connection: Connection, table: TableName, filter: ColumnFilter | undefined) {
    try {
      return await readTableDefinition(connection, table, { field: 'spec.tables', filter })
    } catch (error) {
      // A filter that the table of now does not fit says nothing about the changes of then.
      if (error instanceof MillraceError && (error.code === 'ColumnNotFound' || error.code === 'InvalidSpec'))
        return await readTableDefinition(connection, table, { field: 'spec.tables' })
      if (error instanceof MillraceError && error.code === 'TableNotFound') return undefined
      throw error
    }
  }

  /** A session stays on one server, but the next one may find another behind the same name. */
  async function prove(connection: Connection, target: PostgresTarget, signal: AbortSignal): Promise<void> {
    const identity = await readServerIdentity(connection)
    const key = `${target.host}:${target.port}`
    const known = proven.get(key)
    if (known && isSameServer(known, identity) && known.timeline === identity.timeline) return
    const own = await sessions.use(primary, signal, readServerIdentity)
    assertReplica(own, identity, target)
    proven.set(key, identity)
  }

  async function rereadOnReplica(
    target: PostgresTarget,
    request: RereadRequest,
    signal: AbortSignal,
  ): Promise<Reread | undefined> {
    return await sessions.use(target, signal, async (connection) => {
      await prove(connection, target, signal)
      if (!(await pastOnReplica(connection, request, signal))) return undefined
      const table = await definition(connection, request.table, undefined)
      return await around('apply.reread', () => readAgain(connection, table, request, false))
    })
  }

  return {
    definition: (table, filter, signal) =>
      sessions.use(primary, signal, (connection) => definition(connection, table, filter)),

    async reread(request, signal) {
      for (const target of replicas) {
        try {
          const found = await rereadOnReplica(target, request, signal)
          if (found) return found
        } catch (error) {
          signal.throwIfAborted()
          log.warn({ err: error, field: target.field }, 'Replica not usable for reading rows again')
        }
      }
      return await sessions.use(primary, signal, async (connection) => {
        await pastOnPrimary(connection, request, signal)
        const table = await definition(connection, request.table, undefined)
        const found = await around('apply.reread', () => readAgain(connection, table, request, true))
        if (found) return found
        throw new MillraceError('Internal', 'the primary lacks nothing by definition')
      })
    },

    writeRelease: (uid, table, signal) =>
      sessions.use(primary, signal, (connection) =>
        around('watermark.release', () => writeRelease(connection, names, { uid, table })),
      ),

    close: () => sessions.close(),
  }
}
