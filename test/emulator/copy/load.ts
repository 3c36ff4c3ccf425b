import { once } from 'node:events'
import { from as copyFrom } from 'pg-copy-streams'
import type { TableInfo } from '../engine/catalog.ts'
import type { LoadError } from '../engine/history.ts'
import type { StatementContext } from '../engine/statement.ts'
import { checkDatabase } from '../engine/statement.ts'
import type { CopyStatement } from '../sql/ast.ts'
import { RedshiftError, UnknownToEmulator } from '../sql/errors.ts'
import { sqlName, sqlTable } from '../sql/names.ts'
import { bareTypeName } from '../sql/types.ts'
import { type Converter, createConverter, FieldError } from './convert.ts'
import { openFiles, type SourceFile } from './files.ts'
import { type CopyOptions, readOptions } from './options.ts'
import { createRowParser, type Row } from './rows.ts'
import type { S3Reader } from './s3.ts'
import { toText } from './utf8.ts'

export interface CopyService {
  readonly s3: S3Reader
  /** Region of the cluster. */
  readonly region: string
  /** Region that buckets are in, where it is not the cluster's: COPY then needs REGION. */
  readonly bucketRegion: string
  /** Roles that may be assumed; undefined = all. */
  readonly roles: readonly string[] | undefined
}

interface Column {
  readonly name: string
  readonly typeName: string
  readonly length: string
  readonly notNull: boolean
  readonly convert: Converter
}

/** Runs COPY: reads the files, converts every field as Redshift does and writes the rows. Returns how many were loaded. */
export async function runCopy(
  statement: CopyStatement,
  ctx: StatementContext,
  service: CopyService,
): Promise<number> {
  const options = readOptions(statement)
  checkDatabase(statement.table, ctx.session.database)
  checkAccess(options, service)
  const tables = await ctx.session.prepare({
    reads: [],
    writes: [{ table: statement.table, lock: 'insert' }],
  })
  const target = tables.get(statement.table) as TableInfo
  if (target.kind === 'view') throw new RedshiftError('0A000', 'cannot copy to a view')
  const load = startLoad(statement, target, columnsOf(statement, target, options), options, ctx)
  try {
    const rows = await ctx.session.asUser(() =>
      load.run(openFiles(statement.from, options, service.s3, ctx.signal)),
    )
    await ctx.session.remember('last_copy_id', ctx.queryId)
    await ctx.session.remember('last_copy_count', rows)
    load.record('completed')
    return rows
  } catch (error) {
    load.record(ctx.signal.aborted ? 'aborted' : 'failed')
    throw error
  }
}

function checkAccess(options: CopyOptions, { region, bucketRegion, roles }: CopyService) {
  if ((options.region ?? region) !== bucketRegion) {
    throw new RedshiftError(
      'XX000',
      `S3ServiceException:The bucket you are attempting to access must be addressed using the specified endpoint.,Status 301,Error PermanentRedirect`,
      `Detail: the bucket is in ${bucketRegion}: use the REGION parameter`,
    )
  }
  if (options.role !== 'default' && roles && !roles.includes(options.role)) {
    throw new RedshiftError('XX000', `User is not authorized to assume IAM Role ${options.role}`)
  }
}

function columnsOf(statement: CopyStatement, target: TableInfo, options: CopyOptions): Column[] {
  const names = statement.columns ?? target.columns.map(({ name }) => name)
  return names.map((name) => {
    const column = target.columns.find((each) => each.name === name)
    if (!column)
      throw new RedshiftError('42703', `column "${name}" of relation "${target.ref.name}" does not exist`)
    if (column.identity !== null && !options.explicitIds) {
      throw new UnknownToEmulator('COPY into an IDENTITY column without EXPLICIT_IDS')
    }
    return {
      name,
      typeName: bareTypeName(column.type.kind),
      length:
        column.type.kind === 'numeric'
          ? `${column.type.length},${column.type.scale}`
          : String(column.type.length ?? 0),
      notNull: column.notNull,
      convert: createConverter(column.type, options),
    }
  })
}

const OUTPUT_BYTES = 256 * 1024

function startLoad(
  statement: CopyStatement,
  target: TableInfo,
  columns: readonly Column[],
  options: CopyOptions,
  ctx: StatementContext,
) {
  const start = new Date()
  const errors: LoadError[] = []
  let loaded = 0
  let bytes = 0
  let files = 0
  let fileBytes = 0

  const refuse = (
    file: SourceFile,
    row: Row,
    reason: string,
    code: number,
    position: number,
    column?: Column,
    field = '',
  ) => {
    errors.push({
      queryId: ctx.queryId,
      pid: ctx.session.backend.pid,
      table: target.oid,
      tableName: target.ref.name,
      database: ctx.session.database,
      time: new Date(),
      file: file.url,
      line: row.line,
      column: column?.name ?? '',
      columnType: column?.typeName ?? '',
      columnLength: column?.length ?? '',
      position,
      rawLine: toText(row.raw.slice(0, 1024)),
      rawField: toText(field.slice(0, 1024)),
      code,
      reason,
    })
    if (errors.length > options.maxErrors) {
      throw new RedshiftError(
        'XX000',
        `Load into table '${target.ref.name}' failed.  Check 'stl_load_errors' system table for details.`,
        `Detail: ${file.url}, line ${row.line}${column ? `, column ${column.name}` : ''}: ${reason}`,
      )
    }
  }

  /** The row as PostgreSQL's COPY takes it; undefined when it was refused. */
  const convertRow = (file: SourceFile, row: Row): string | undefined => {
    if (row.error) {
      refuse(file, row, row.error.reason, row.error.code, row.error.position)
      return undefined
    }
    const { fields } = row
    if (fields.length > columns.length) {
      refuse(file, row, 'Extra column(s) found', 1202, 0)
      return undefined
    }
    if (fields.length < columns.length && !options.fillRecord) {
      refuse(file, row, 'Delimiter not found', 1201, row.raw.length, columns[fields.length])
      return undefined
    }
    let line = ''
    for (const [index, column] of columns.entries()) {
      const field = fields[index] ?? ''
      const value = convertField(file, row, column, field)
      if (value === undefined) return undefined
      line += index === 0 ? escapeField(value) : `\t${escapeField(value)}`
    }
    return `${line}\n`
  }

  const convertField = (
    file: SourceFile,
    row: Row,
    column: Column,
    field: string,
  ): string | null | undefined => {
    try {
      const value = column.convert(field)
      if (value !== null || !column.notNull) return value
      throw new FieldError(1213, 'Missing data for not-null field')
    } catch (error) {
      if (!(error instanceof FieldError)) throw error
      refuse(file, row, error.message, error.code, 0, column, field)
      return undefined
    }
  }

  /** Lines for PostgreSQL, in parts of some size. */
  async function* lines(file: SourceFile): AsyncGenerator<string> {
    const parser = createRowParser(options)
    let out = ''
    const take = (rows: readonly Row[]) => {
      for (const row of rows) {
        if (row.line <= options.ignoreHeader || (options.ignoreBlankLines && row.raw === '')) continue
        const line = convertRow(file, row)
        if (line === undefined) continue
        loaded++
        bytes += row.raw.length
        out += line
      }
    }
    for await (const chunk of file.content) {
      take(parser.push(chunk.toString('latin1')))
      if (out.length >= OUTPUT_BYTES) {
        yield out
        out = ''
      }
    }
    take(parser.end())
    if (out !== '') yield out
  }

  const run = async (source: AsyncIterable<SourceFile>): Promise<number> => {
    const sink = options.noLoad ? undefined : await openSink(target, columns, ctx)
    try {
      for await (const file of source) {
        files++
        fileBytes += file.bytes
        for await (const part of lines(file)) {
          ctx.signal.throwIfAborted()
          await sink?.write(part)
        }
      }
      await sink?.end()
    } catch (error) {
      await sink?.abort()
      throw error
    } finally {
      ctx.history.loadErrors(errors)
    }
    return loaded
  }

  const record = (status: 'completed' | 'failed' | 'aborted') => {
    ctx.history.load({
      queryId: ctx.queryId,
      pid: ctx.session.backend.pid,
      transaction: ctx.session.transaction()?.id ?? 0,
      database: ctx.session.database,
      schema: statement.table.schema ?? '',
      table: target.ref.name,
      source: statement.from,
      format: options.format,
      status,
      start,
      end: new Date(),
      rows: status === 'completed' ? loaded : 0,
      bytes: status === 'completed' ? bytes : 0,
      files,
      fileBytes,
      errors: errors.length,
    })
  }

  return { run, record }
}

const NEEDS_ESCAPE = /[\\\t\n\r]/
const ESCAPES: Record<string, string> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' }

function escapeField(value: string | null): string {
  if (value === null) return '\\N'
  return NEEDS_ESCAPE.test(value)
    ? value.replaceAll(/[\\\t\n\r]/g, (character) => ESCAPES[character] as string)
    : value
}

/** PostgreSQL's side of the load. */
async function openSink(target: TableInfo, columns: readonly Column[], { session }: StatementContext) {
  const list = columns.map(({ name }) => sqlName(name)).join(', ')
  const stream = session.backend.client.query(copyFrom(`COPY ${sqlTable(target.ref)} (${list}) FROM STDIN`))
  let failed = false
  const failure = new Promise<never>((_, reject) =>
    stream.once('error', (error) => {
      failed = true
      reject(error)
    }),
  )
  failure.catch(() => {})
  const finished = once(stream, 'finish')
  finished.catch(() => {})
  return {
    write: async (part: string) => {
      if (!stream.write(Buffer.from(part, 'latin1'))) await Promise.race([once(stream, 'drain'), failure])
    },
    end: async () => {
      stream.end()
      await Promise.race([finished, failure])
    },
    abort: async () => {
      if (failed || stream.destroyed || stream.writableFinished) return
      const closed = once(stream, 'close').catch(() => {})
      stream.destroy(new Error('the load failed'))
      await closed
    },
  }
}
