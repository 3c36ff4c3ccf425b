import type { GrantStatement, Statement, TableRef } from './ast.ts'
import { type Cursor, createCursor, type ParseOptions } from './cursor.ts'
import { RedshiftError, UnknownToEmulator } from './errors.ts'
import { tokenize } from './lexer.ts'
import { parseCopy } from './parse-copy.ts'
import { parseAlter, parseCreate, parseDrop } from './parse-ddl.ts'
import { parseDelete, parseInsert, parseMerge, parseUpdate, parseWithStatement } from './parse-dml.ts'
import { commaList } from './parse-expression.ts'
import { parseQuery, parseTableRef } from './parse-query.ts'

export interface ParsedStatement {
  readonly statement: Statement
  /** Names of the parameters it refers to. */
  readonly parameters: ReadonlySet<string>
}

/**
 * Parses one statement. `RedshiftError` where Redshift refuses it, `UnknownToEmulator` where the emulator does not know.
 */
export function parseStatement(
  sql: string,
  options: ParseOptions = { caseSensitive: false },
): ParsedStatement {
  const tokens = tokenize(sql)
  const parameters = new Set(tokens.filter(({ kind }) => kind === 'param').map(({ value }) => value))
  const c = createCursor(tokens, options)
  if (c.peek().kind === 'end') throw new RedshiftError('42601', 'empty query')
  const statement = parseOne(c)
  while (c.accept(';')) {
    // Nothing but the end may follow.
  }
  if (c.peek().kind !== 'end') {
    if (
      tokens.some(
        (token, index) =>
          token.value === ';' && token.kind === 'operator' && tokens[index + 1]?.kind !== 'end',
      )
    ) {
      throw new RedshiftError('42601', 'cannot insert multiple commands into a prepared statement')
    }
    c.fail()
  }
  return { statement, parameters }
}

function parseOne(c: Cursor): Statement {
  const { kind, value } = c.peek()
  if (kind === 'operator' && value === '(') return { kind: 'query', query: parseQuery(c) }
  if (kind !== 'word') c.fail()
  const parse = STATEMENTS[value]
  if (parse) return parse(c)
  if (KNOWN_TO_REDSHIFT.has(value)) throw new UnknownToEmulator(`the statement ${value.toUpperCase()}`)
  return c.fail()
}

const KNOWN_TO_REDSHIFT = new Set(
  'abort call close declare deallocate execute explain fetch prepare refresh savepoint unload use desc describe do'.split(
    ' ',
  ),
)

const STATEMENTS: Record<string, (c: Cursor) => Statement> = {
  select: (c) => ({ kind: 'query', query: parseQuery(c) }),
  with: parseWithStatement,
  insert: parseInsert,
  update: (c) => parseUpdate(c, []),
  delete: (c) => parseDelete(c, []),
  merge: parseMerge,
  copy: parseCopy,
  create: parseCreate,
  alter: parseAlter,
  drop: parseDrop,
  truncate: (c) => {
    c.expect('truncate')
    c.accept('table')
    const table = parseTableRef(c)
    // Several tables, CASCADE and RESTART IDENTITY are PostgreSQL's.
    return { kind: 'truncate', table }
  },
  comment: parseComment,
  grant: (c) => parseGrant(c, 'grant'),
  revoke: (c) => parseGrant(c, 'revoke'),
  lock: (c) => {
    c.expect('lock')
    c.accept('table')
    const tables = commaList(c, parseTableRef)
    if (c.at('in')) throw new RedshiftError('42601', 'LOCK takes no mode: it is always ACCESS EXCLUSIVE')
    return { kind: 'lock', tables }
  },
  begin: (c) => transaction(c, 'begin', ['begin', 'work', 'transaction']),
  start: (c) => {
    c.expect('start', 'transaction')
    return { kind: 'begin' }
  },
  commit: (c) => transaction(c, 'commit', ['commit', 'work', 'transaction']),
  end: (c) => transaction(c, 'commit', ['end', 'work', 'transaction']),
  rollback: (c) => transaction(c, 'rollback', ['rollback', 'work', 'transaction']),
  set: parseSet,
  reset: (c) => {
    c.expect('reset')
    return { kind: 'reset', name: c.name() }
  },
  show: (c) => {
    c.expect('show')
    return { kind: 'show', name: c.name() }
  },
  analyze: (c) => {
    c.expect('analyze')
    if (c.at('compression')) throw new UnknownToEmulator('ANALYZE COMPRESSION')
    return { kind: 'analyze', ...optionalTable(c) }
  },
  vacuum: (c) => {
    c.expect('vacuum')
    for (const word of ['full', 'sort', 'delete', 'reindex', 'recluster']) if (c.accept(word)) break
    if (c.at('sort')) c.expect('sort', 'only')
    if (c.at('delete')) c.expect('delete', 'only')
    c.accept('only')
    return { kind: 'vacuum', ...optionalTable(c) }
  },
  cancel: (c) => {
    c.expect('cancel')
    const pid = c.integer()
    if (c.peek().kind === 'string') c.string()
    return { kind: 'cancel', pid }
  },
}

function optionalTable(c: Cursor): { table?: TableRef } {
  return c.peek().kind === 'end' || c.at(';') ? {} : { table: parseTableRef(c) }
}

function transaction(c: Cursor, kind: 'begin' | 'commit' | 'rollback', words: readonly string[]): Statement {
  c.expect(words[0] as string)
  for (const word of words.slice(1)) if (c.accept(word)) break
  if (kind === 'begin' && c.accept('isolation', 'level')) {
    // Every level means the same: that of the database.
    if (!c.accept('serializable')) throw new UnknownToEmulator('this isolation level')
  }
  if (c.at('read')) throw new UnknownToEmulator('READ ONLY and READ WRITE of a transaction')
  return { kind }
}

function parseSet(c: Cursor): Statement {
  c.expect('set')
  if (c.at('session') || c.at('local')) throw new UnknownToEmulator('SET SESSION and SET LOCAL')
  const name = c.name()
  if (!c.accept('to')) c.expect('=')
  const values = commaList(c, (at) => {
    const token = at.next()
    return ['word', 'string', 'quoted', 'number'].includes(token.kind) ? token.value : at.fail(token)
  })
  return { kind: 'set', name, value: values.join(', ') }
}

function parseComment(c: Cursor): Statement {
  c.expect('comment', 'on')
  const kind = (['table', 'column', 'schema', 'view'] as const).find((word) => c.accept(word))
  if (!kind) throw new UnknownToEmulator(`COMMENT ON ${c.peek().text.toUpperCase()}`)
  const on = commentTarget(c, kind)
  c.expect('is')
  return { kind: 'comment', on, text: c.accept('null') ? null : c.string() }
}

function commentTarget(c: Cursor, kind: 'table' | 'column' | 'schema' | 'view') {
  if (kind === 'schema') return { kind, name: c.name() }
  const ref = parseTableRef(c)
  if (kind !== 'column') return { kind, table: ref }
  // schema.table.column, read as database.schema.table before.
  if (ref.schema === undefined) return c.fail()
  const table = { name: ref.schema, ...(ref.database !== undefined && { schema: ref.database }) }
  return { kind, table, column: ref.name }
}

const PRIVILEGES = [
  'select',
  'insert',
  'update',
  'delete',
  'drop',
  'references',
  'alter',
  'truncate',
  'create',
  'usage',
  'temporary',
  'temp',
]

function parseGrant(c: Cursor, kind: 'grant' | 'revoke'): GrantStatement {
  c.expect(kind)
  const privileges = c.accept('all') ? 'all' : commaList(c, privilege)
  if (privileges === 'all') c.accept('privileges')
  c.expect('on')
  const on = grantTarget(c)
  c.expect(kind === 'grant' ? 'to' : 'from')
  const grantees = commaList(c, grantee)
  if (c.at('with')) throw new UnknownToEmulator('WITH GRANT OPTION')
  return { kind, privileges, on, grantees }
}

function privilege(c: Cursor): string {
  const found = PRIVILEGES.find((word) => c.accept(word))
  return found ?? c.fail()
}

function grantTarget(c: Cursor): GrantStatement['on'] {
  if (c.accept('all', 'tables', 'in', 'schema'))
    return { kind: 'all tables', names: commaList(c, (at) => at.name()) }
  if (c.accept('schema')) return { kind: 'schema', names: commaList(c, (at) => at.name()) }
  if (c.accept('database')) return { kind: 'database', names: commaList(c, (at) => at.name()) }
  for (const word of ['function', 'procedure', 'language', 'model', 'datashare']) {
    if (c.at(word)) throw new UnknownToEmulator(`GRANT ON ${word.toUpperCase()}`)
  }
  c.accept('table')
  return { kind: 'table', tables: commaList(c, parseTableRef) }
}

function grantee(c: Cursor): GrantStatement['grantees'][number] {
  if (c.accept('public')) return { kind: 'public', name: 'public' }
  if (c.accept('group')) return { kind: 'group', name: c.name() }
  if (c.accept('role')) return { kind: 'role', name: c.name() }
  return { kind: 'user', name: c.name() }
}
