import type { Pipeline, PipelineTable } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { MillraceError } from '../../lib/errors.ts'
import type { TableOptions } from '../destination/destination.ts'
import type { DestinationAction } from '../destination/ledger.ts'
import { destinationTable } from '../destination/names.ts'
import { type ColumnFilter, type TableName, tableLabel } from '../source/table.ts'

/** What one backfill is to do, out of the two resources. */
export interface CopySettings {
  readonly table: TableName
  /** Spec path of the table in the Pipeline, such as `spec.tables[3]`. */
  readonly field: string
  readonly filter: ColumnFilter | undefined
  readonly target: TableName
  readonly options: TableOptions
  readonly action: DestinationAction
  readonly parallelism: number
  readonly chunkRows: number
  readonly scan: Chosen<'Auto' | 'Key' | 'Ctid'>
  readonly readFrom: Chosen<'Replica' | 'Primary' | undefined>
}

/** A setting, and where it was found. */
export interface Chosen<T> {
  readonly value: T
  /** Spec path. */
  readonly field: string
  /** It stands in the TableBackfill, where it cannot be changed: an error in it is final. */
  readonly fixed: boolean
}

/**
 * Puts the settings together: those of the TableBackfill win over the table's in the Pipeline, and those over the Pipeline's.
 *
 * Throws `InvalidSpec` for a table that the Pipeline does not list.
 */
export function copySettings(pipeline: Pipeline, backfill: TableBackfill): CopySettings {
  const { table } = backfill.spec
  const { spec } = pipeline
  const index = spec.tables.findIndex((each) => each.schema === table.schema && each.name === table.name)
  const entry = spec.tables[index]
  if (entry === undefined) {
    throw new MillraceError(
      'InvalidSpec',
      `spec.table: Pipeline ${pipeline.metadata.name} does not list table ${tableLabel(table)}; add it to spec.tables of the Pipeline`,
      { field: 'spec.table', retryable: true },
    )
  }
  const field = `spec.tables[${index}]`
  const choose = <K extends 'parallelism' | 'chunkRows' | 'scan' | 'readFrom'>(name: K) => {
    const own = backfill.spec.backfill[name]
    if (own !== undefined) return { value: own, field: `spec.backfill.${name}`, fixed: true }
    const listed = entry.backfill?.[name]
    if (listed !== undefined) return { value: listed, field: `${field}.backfill.${name}`, fixed: false }
    return { value: spec.backfill[name], field: `spec.backfill.${name}`, fixed: false }
  }
  return {
    table: { schema: table.schema, name: table.name },
    field,
    filter: columnFilter(entry),
    target: destinationTable(spec, table),
    options: { deletes: spec.apply.deletes },
    action: backfill.spec.destinationTable,
    parallelism: choose('parallelism').value ?? spec.backfill.parallelism,
    chunkRows: choose('chunkRows').value ?? spec.backfill.chunkRows,
    scan: choose('scan') as Chosen<'Auto' | 'Key' | 'Ctid'>,
    readFrom: choose('readFrom') as Chosen<'Replica' | 'Primary' | undefined>,
  }
}

function columnFilter(entry: PipelineTable): ColumnFilter | undefined {
  const { columns } = entry
  if (columns?.include) return { include: columns.include }
  return columns?.exclude && { exclude: columns.exclude }
}

/**
 * Which server is read: what is asked for, else a replica if there is one.
 *
 * A table without a key (rule R14) is read on the primary, and only into a table that this backfill empties: there is no
 * way to write its rows twice with the same result. Throws `NoUsableKey` when it cannot be, `InvalidSpec` for a replica
 * that is not there.
 */
export function chooseServer(
  settings: Pick<CopySettings, 'table' | 'action' | 'readFrom'>,
  definition: { readonly key: readonly string[]; readonly replicaIdentity: string },
  replicas: number,
): 'Replica' | 'Primary' {
  const { value, field, fixed } = settings.readFrom
  if (definition.key.length === 0) {
    const label = `table ${tableLabel(settings.table)} has no key (no unique index over NOT NULL columns)`
    if (definition.replicaIdentity !== 'full') {
      throw keyless(`spec.table: ${label}; add a primary key, or set REPLICA IDENTITY FULL`, 'spec.table')
    }
    if (settings.action === 'DoNothing') {
      throw keyless(
        `spec.destinationTable: ${label}, so its rows cannot be written over others; add a primary key, or create a TableBackfill with destinationTable Truncate or Drop`,
        'spec.destinationTable',
      )
    }
    if (value === 'Replica') {
      throw keyless(`${field}: ${label}, so it must be read from the primary; set readFrom to Primary`, field)
    }
    return 'Primary'
  }
  if (value === 'Replica' && replicas === 0) {
    throw new MillraceError(
      'InvalidSpec',
      `${field}: Replica needs a replica; list one in spec.source.postgres.replicas, or set readFrom to Primary`,
      { field, retryable: !fixed },
    )
  }
  return value ?? (replicas > 0 ? 'Replica' : 'Primary')
}

/** Which server a comparison reads: as for a copy, but that it never needs the primary. */
export function verifyServer(
  { readFrom }: Pick<CopySettings, 'readFrom'>,
  replicas: number,
): 'Replica' | 'Primary' {
  return replicas > 0 && readFrom.value !== 'Primary' ? 'Replica' : 'Primary'
}

function keyless(message: string, field: string): MillraceError {
  return new MillraceError('NoUsableKey', message, { field })
}
