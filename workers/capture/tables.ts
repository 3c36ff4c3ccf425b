import { isDeepStrictEqual } from 'node:util'
import type { PipelineSpec, PipelineTable } from '../../crds/pipeline.ts'
import { type ErrorCode, MillraceError, toMillraceError } from '../../lib/errors.ts'
import { around } from '../../lib/failpoints.ts'
import type { Logger } from '../../lib/log.ts'
import { sleep } from '../../lib/sleep.ts'
import { readTableDefinition } from '../source/catalog.ts'
import { isOfAnother, publicationTaken } from '../source/owner.ts'
import { sqlState } from '../source/postgres-errors.ts'
import {
  checkReplicable,
  ensurePublication,
  joinTable,
  leaveTable,
  type Member,
  readMembers,
  type SourceNames,
} from '../source/publication.ts'
import { ALTERED, publishWhole, writePublicationGap } from '../source/publication-gap.ts'
import { type TableName, tableLabel } from '../source/table.ts'
import type { CatalogWatch } from './catalog-watch.ts'
import type { Directory } from './directory.ts'
import type { SqlSession } from './sql-session.ts'

export interface TableProblem {
  readonly table: TableName
  readonly error: MillraceError
}

export interface TablesOptions {
  readonly sql: SqlSession
  readonly names: SourceNames
  /** Who the publication belongs to, for its comment. */
  readonly owner: string
  readonly directory: Directory
  readonly watch: CatalogWatch
  readonly log: Logger
  /** The Pipeline as last seen. */
  readonly spec: () => PipelineSpec
  /** The Pipeline straight from the API server; undefined when it is gone. */
  readonly freshSpec: (signal: AbortSignal) => Promise<PipelineSpec | undefined>
  readonly specVersion: () => number
  /** Resolves when the Pipeline's version is another one. */
  readonly specChanged: (since: number, signal: AbortSignal) => Promise<unknown>
  /** The source cannot be asked at present; undefined: it can again. */
  readonly onTrouble: (error: MillraceError | undefined) => void
  readonly onResult: (joined: readonly TableName[], problems: readonly TableProblem[]) => void
}

/** Between two looks at the catalog when all is well, milliseconds. */
const LOOK = 15_000
/** The same while some table cannot join. */
const RETRY = 5_000

/** What concerns one table alone; anything else is a trouble of the source. */
const OF_ONE_TABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'TableNotFound',
  'NoReplicaIdentity',
  'PermissionDenied',
  'LockTimeout',
  'ColumnNotFound',
  'InvalidSpec',
  'DeadlineExceeded',
  'QueueUnavailable',
])

/**
 * Makes the publication what the Pipeline says, again and again: tables join and leave while all others go on. One that
 * cannot is reported, and tried again.
 */
export async function keepTables(options: TablesOptions, signal: AbortSignal): Promise<never> {
  const checked = new Map<string, PipelineTable>()
  for (;;) {
    const version = options.specVersion()
    const troubled = await pass(options, checked, signal).catch((thrown: unknown) => {
      signal.throwIfAborted()
      const error = toMillraceError(thrown)
      if (!error.retryable) throw error
      options.onTrouble(error)
      return true
    })
    const over = new AbortController()
    const wait = AbortSignal.any([signal, over.signal])
    await Promise.race([options.specChanged(version, wait), sleep(troubled ? RETRY : LOOK, wait)]).finally(
      () => over.abort(),
    )
  }
}

/** One pass; says whether something has to be tried again soon. */
async function pass(
  options: TablesOptions,
  checked: Map<string, PipelineTable>,
  signal: AbortSignal,
): Promise<boolean> {
  const { sql, names, directory, watch } = options
  const spec = options.spec()
  const { owner, members } = await sql.use(async (connection) => {
    const { owner } = await ensurePublication(connection, names.publication, options.owner, names.slot)
    return { owner, members: await readMembers(connection, names.publication) }
  })
  // What is seen of a table is remembered with its topic, so that has to be there first.
  for (const member of members.filter((one) => spec.tables.some((table) => isSame(table, one)))) {
    await directory.channel(member, signal).catch(() => signal.throwIfAborted())
  }
  const changed = await sql.use((connection) => watch.lookAtAll(connection, members))
  for (const member of changed) checked.delete(tableLabel(member))
  const joined: TableName[] = []
  const problems: TableProblem[] = []
  for (const [index, table] of spec.tables.entries()) {
    const name = { schema: table.schema, name: table.name }
    const field = `spec.tables[${index}]`
    try {
      const member = members.find((one) => isSame(one, name))
      const isMember = member !== undefined
      await directory.channel(name, signal)
      if (member) {
        joined.push(name)
        await checkMembership(options, member, field)
      }
      if (isMember && isDeepStrictEqual(checked.get(tableLabel(name)), table)) continue
      if (!isMember) {
        await join(options, name, field, signal)
        joined.push(name)
      }
      await check(options, table, field)
      checked.set(tableLabel(name), table)
    } catch (thrown) {
      signal.throwIfAborted()
      const error = unwritable(thrown, name, field) ?? toMillraceError(thrown)
      if (!OF_ONE_TABLE.has(error.code)) throw error
      checked.delete(tableLabel(name))
      problems.push({ table: name, error })
    }
  }
  // Whoever the publication names now may want just those tables that this Pipeline does not.
  const taken = isOfAnother(owner, options.owner) ? publicationTaken(names.publication, owner) : undefined
  options.onTrouble(taken)
  options.onResult(joined, problems)
  if (!taken) await removeOthers(options, spec, members, signal)
  return taken !== undefined || problems.length > 0
}

async function join(
  options: TablesOptions,
  table: TableName,
  field: string,
  signal: AbortSignal,
): Promise<void> {
  const { sql, names, directory, watch, log } = options
  await sql.use(async (connection) => {
    // A table that was here before may have been made again: that has to be said before its changes come.
    const found = await readTableDefinition(connection, table, { field })
    // What is wrong with one that is not published yet does no harm, and is not to be remembered as if it had.
    await checkReplicable(connection, found, field)
    await watch.look(connection, table, found.oid)
    // After a crash behind the join, what the table looked like must be known: it may have changed by then (rule R20).
    await directory.save(signal)
    const { oid } = await around('capture.join', () => joinTable(connection, names, table, field))
    await watch.look(connection, table, oid)
    const members = await readMembers(connection, names.publication)
    directory.setMembership(table, members.find((member) => isSame(member, table))?.entry)
  })
  log.info({ table: tableLabel(table) }, 'Table joined the publication')
}

/** Whether the table was published without a break and as a whole since it was last looked at; says in the log if not. */
async function checkMembership(options: TablesOptions, member: Member, field: string): Promise<void> {
  const { sql, names, directory, log } = options
  const known = directory.membership(member)
  const moved = known !== undefined && known !== member.entry
  if (member.narrowed) {
    await sql.use((connection) => publishWhole(connection, names, member, field))
    const now = await sql.use((connection) => readMembers(connection, names.publication))
    directory.setMembership(member, now.find((one) => isSame(one, member))?.entry)
  } else if (moved) {
    await sql.use((connection) => writePublicationGap(connection, names.slot, member, ALTERED.away))
    directory.setMembership(member, member.entry)
  } else if (known === undefined) directory.setMembership(member, member.entry)
  if (member.narrowed || moved)
    log.error({ table: tableLabel(member) }, 'The publication was altered by hand')
}

/** Whether a member can still be replicated as the Pipeline says. */
async function check(options: TablesOptions, table: PipelineTable, field: string): Promise<void> {
  await options.sql.use(async (connection) => {
    const definition = await readTableDefinition(connection, table, {
      field,
      filter: table.columns,
    })
    await checkReplicable(connection, definition, field)
  })
}

/** Tables that are not wanted leave, but only when the API server itself says so: the watch may be behind. */
async function removeOthers(
  options: TablesOptions,
  spec: PipelineSpec,
  members: readonly Member[],
  signal: AbortSignal,
): Promise<void> {
  const isWanted = (member: Member, by: PipelineSpec) => by.tables.some((table) => isSame(table, member))
  const candidates = members.filter((member) => !isWanted(member, spec))
  if (candidates.length === 0) return
  const fresh = await options.freshSpec(signal)
  if (!fresh) return
  for (const member of candidates.filter((candidate) => !isWanted(candidate, fresh))) {
    await options.sql.use((connection) =>
      around('capture.leave', () => leaveTable(connection, options.names, member)),
    )
    options.log.info({ table: tableLabel(member) }, 'Table left the publication')
  }
}

/** The server could not even be asked for a table of this name. */
function unwritable(thrown: unknown, table: TableName, field: string): MillraceError | undefined {
  if (sqlState(thrown) !== '22P05') return undefined
  return new MillraceError(
    'TableNotFound',
    `${field}: there is no table ${tableLabel(table)}: the encoding of the source's database lacks characters of that name`,
    { field, cause: thrown },
  )
}

function isSame(a: TableName, b: TableName): boolean {
  return a.schema === b.schema && a.name === b.name
}
