import { MillraceError } from '../../../lib/errors.ts'
import { quoteIdentifier } from '../../../lib/sql.ts'
import type { Session, Sessions } from './sessions.ts'

/** Names of the ledger's tables, quoted, with their schema. */
export interface LedgerNames {
  readonly schema: string
  readonly tables: string
  readonly backfills: string
  readonly chunks: string
  readonly version: string
}

export function ledgerNames(schema: string): LedgerNames {
  const inSchema = (name: string) => `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`
  return {
    schema,
    tables: inSchema('tables'),
    backfills: inSchema('backfills'),
    chunks: inSchema('chunks'),
    version: inSchema('schema_version'),
  }
}

// Rows of `tables` change with every flush: room in the pages lets PostgreSQL change them in place.
// Log positions are of type pg_lsn, which compares as a number and reads as people know it.
const FIRST = (names: LedgerNames) => `
  CREATE TABLE IF NOT EXISTS ${names.tables} (
    pipeline text NOT NULL,
    pipeline_label text NOT NULL,
    source_schema text NOT NULL,
    source_table text NOT NULL,
    destination_schema text NOT NULL,
    destination_table text NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    topic text NOT NULL,
    incarnation text NOT NULL DEFAULT '',
    next_offset bigint NOT NULL DEFAULT 0,
    epoch bigint NOT NULL DEFAULT 0,
    lsn pg_lsn NOT NULL DEFAULT '0/0',
    sequence bigint NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'stopped', 'left')),
    stop_code text NOT NULL DEFAULT '',
    stop_message text NOT NULL DEFAULT '',
    held_by text NOT NULL DEFAULT '',
    unknown_history boolean NOT NULL,
    needs_emptying boolean NOT NULL DEFAULT false,
    history_complete boolean NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, source_schema, source_table),
    CONSTRAINT one_owner UNIQUE (destination_schema, destination_table)
  ) WITH (fillfactor = 30);
  CREATE TABLE IF NOT EXISTS ${names.backfills} (
    pipeline text NOT NULL,
    uid text NOT NULL,
    name text NOT NULL,
    source_schema text NOT NULL,
    source_table text NOT NULL,
    state text NOT NULL CHECK (state IN ('held', 'copied', 'drained', 'closed')),
    action text NOT NULL CHECK (action IN ('DoNothing', 'Truncate', 'Drop')),
    version bigint NOT NULL DEFAULT 1,
    attempt integer NOT NULL DEFAULT 0,
    hold_lsn pg_lsn NOT NULL DEFAULT '0/0',
    hold_offset bigint NOT NULL DEFAULT 0,
    action_done boolean NOT NULL DEFAULT false,
    append boolean NOT NULL DEFAULT false,
    plan integer NOT NULL DEFAULT 0,
    scan text NOT NULL DEFAULT '' CHECK (scan IN ('', 'Key', 'Ctid')),
    snapshot text NOT NULL DEFAULT '',
    visibility text NOT NULL DEFAULT '',
    rows bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    close_code text NOT NULL DEFAULT '',
    close_message text NOT NULL DEFAULT '',
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, uid)
  );
  CREATE TABLE IF NOT EXISTS ${names.chunks} (
    pipeline text NOT NULL,
    uid text NOT NULL,
    plan integer NOT NULL,
    chunk integer NOT NULL,
    parent integer,
    range jsonb NOT NULL,
    state text NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'done', 'split')),
    attempt integer NOT NULL DEFAULT 0,
    rows bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, uid, plan, chunk)
  )`

/** What leads from each version of the ledger's tables to the next. Only ever append; each is run again when a table is gone. */
const STEPS: readonly ((names: LedgerNames) => string)[] = [FIRST]

/** Ended backfills are kept this long, for people who look; nothing depends on them any more. */
const KEPT = '30 days'

/**
 * Makes the ledger's schema and tables, or brings them up to date. Safe against any number of others doing the same.
 *
 * Throws `PermissionDenied` naming `spec.destination.postgres.ledgerSchema`, and `DestinationConflict` when a newer Millrace
 * has been at work.
 */
export async function openLedgerSchema(
  sessions: Sessions,
  names: LedgerNames,
  pipeline: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    const { version, gone } = await sessions.use(signal, (session) => readState(session, names))
    if (version > STEPS.length) throw newer(names, version)
    if (version < STEPS.length || gone.length > 0) {
      await sessions.transaction(signal, (session) => migrate(session, names))
    }
    await sessions.use(signal, (session) => forget(session, names, pipeline))
  } catch (error) {
    throw withField(error, names)
  }
}

interface State {
  /** 0: there is no ledger. */
  readonly version: number
  /** Its tables that are not there, as when somebody has dropped them. */
  readonly gone: readonly ('tables' | 'backfills' | 'chunks')[]
}

async function readState(session: Session, names: LedgerNames): Promise<State> {
  const tables = ['tables', 'backfills', 'chunks'] as const
  const there = await session.query(
    'SELECT to_regclass($1) AS version, to_regclass($2) AS tables, to_regclass($3) AS backfills, to_regclass($4) AS chunks',
    [names.version, ...tables.map((table) => names[table])],
  )
  const gone = tables.filter((table) => !there[0]?.[table])
  if (!there[0]?.version) return { version: 0, gone }
  const rows = await session.query(`SELECT max(version) AS version FROM ${names.version}`)
  return { version: Number(rows[0]?.version ?? 0), gone }
}

async function migrate(session: Session, names: LedgerNames): Promise<void> {
  // IF NOT EXISTS alone is not safe against two that create at once.
  await session.query(`SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, [
    `millrace ledger ${names.schema}`,
  ])
  // CREATE SCHEMA IF NOT EXISTS asks for the right to create even where there is nothing to create.
  const schema = await session.query('SELECT 1 FROM pg_namespace WHERE nspname = $1', [names.schema])
  if (schema.length === 0) await session.query(`CREATE SCHEMA ${quoteIdentifier(names.schema)}`)
  await session.query(`CREATE TABLE IF NOT EXISTS ${names.version} (version integer PRIMARY KEY)`)
  const { version: found, gone } = await readState(session, names)
  // Without its chunks a copy would pass for complete, whatever was missing of it.
  if (gone.includes('chunks') && !gone.includes('backfills')) {
    await session.query(`DELETE FROM ${names.backfills} WHERE state = 'held'`)
  }
  for (let version = gone.length > 0 ? 0 : found; version < STEPS.length; version++) {
    await session.query((STEPS[version] as (typeof STEPS)[number])(names))
    await session.query(`INSERT INTO ${names.version} VALUES ($1) ON CONFLICT DO NOTHING`, [
      String(version + 1),
    ])
  }
}

async function forget(session: Session, names: LedgerNames, pipeline: string): Promise<void> {
  const old = `pipeline = $1 AND changed_at < now() - interval '${KEPT}'`
  await session.query(
    `WITH gone AS (DELETE FROM ${names.backfills} WHERE ${old} AND state IN ('drained', 'closed') RETURNING uid)
     DELETE FROM ${names.chunks} c USING gone WHERE c.pipeline = $1 AND c.uid = gone.uid`,
    [pipeline],
  )
}

function newer(names: LedgerNames, found: number): MillraceError {
  return new MillraceError(
    'DestinationConflict',
    `spec.destination.postgres.ledgerSchema: schema ${names.schema} was written by a newer Millrace (version ${found}, this one knows ${STEPS.length}); upgrade this one`,
    { field: 'spec.destination.postgres.ledgerSchema' },
  )
}

function withField(error: unknown, names: LedgerNames): unknown {
  if (!(error instanceof MillraceError) || error.code !== 'PermissionDenied') return error
  return new MillraceError(
    'PermissionDenied',
    `spec.destination.postgres.ledgerSchema: cannot make or use the tables in schema ${names.schema}: ${error.message}. Grant CREATE on the database, or create the schema and grant USAGE and CREATE on it`,
    { field: 'spec.destination.postgres.ledgerSchema', cause: error },
  )
}
