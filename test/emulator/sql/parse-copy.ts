import type { CopyOption, CopyStatement } from './ast.ts'
import type { Cursor } from './cursor.ts'
import { RedshiftError, UnknownToEmulator } from './errors.ts'
import { nameList, parseTableRef } from './parse-query.ts'

type Value = 'none' | 'string' | 'optional string' | 'integer' | 'switch' | 'string or default'

/** Every option the emulator knows, and what follows it. `as` in between is optional everywhere. */
const OPTIONS: readonly (readonly [name: string, value: Value])[] = [
  ['iam_role', 'string or default'],
  ['access_key_id', 'string'],
  ['secret_access_key', 'string'],
  ['session_token', 'string'],
  ['credentials', 'string'],
  ['region', 'string'],
  ['manifest', 'none'],
  ['csv', 'none'],
  ['quote', 'string'],
  ['delimiter', 'string'],
  ['gzip', 'none'],
  ['zstd', 'none'],
  ['null', 'string'],
  ['emptyasnull', 'none'],
  ['blanksasnull', 'none'],
  ['acceptinvchars', 'optional string'],
  ['truncatecolumns', 'none'],
  ['roundec', 'none'],
  ['dateformat', 'string'],
  ['timeformat', 'string'],
  ['encoding', 'string'],
  ['ignoreheader', 'integer'],
  ['ignoreblanklines', 'none'],
  ['fillrecord', 'none'],
  ['trimblanks', 'none'],
  ['escape', 'none'],
  ['explicit_ids', 'none'],
  ['maxerror', 'integer'],
  ['noload', 'none'],
  ['compupdate', 'switch'],
  ['statupdate', 'switch'],
  ['comprows', 'integer'],
]

export function parseCopy(c: Cursor): CopyStatement {
  c.expect('copy')
  const table = parseTableRef(c)
  const columns = c.at('(') ? nameList(c) : undefined
  c.expect('from')
  const from = c.string()
  c.accept('with')
  const options: CopyOption[] = []
  while (c.peek().kind === 'word') {
    const option = parseOption(c)
    if (options.some(({ name }) => name === option.name)) {
      throw new RedshiftError('42601', 'conflicting or redundant options')
    }
    options.push(option)
  }
  return { kind: 'copy', table, from, options, ...(columns && { columns }) }
}

function parseOption(c: Cursor): CopyOption {
  if (c.accept('format')) {
    c.accept('as')
    if (!c.at('csv')) throw new UnknownToEmulator(`the COPY format ${c.peek().text.toUpperCase()}`)
  }
  const known = OPTIONS.find(([option]) => c.accept(option))
  if (!known) throw new UnknownToEmulator(`the COPY option ${c.peek().text.toUpperCase()}`)
  const [name, value] = known
  c.accept('as')
  switch (value) {
    case 'none':
      return { name }
    case 'string':
      return { name, value: c.string() }
    case 'string or default':
      return { name, value: c.accept('default') ? 'default' : c.string() }
    case 'optional string':
      return c.peek().kind === 'string' ? { name, value: c.string() } : { name }
    case 'integer':
      return { name, value: String(c.integer()) }
    case 'switch':
      return { name, value: parseSwitch(c, name) }
  }
}

function parseSwitch(c: Cursor, name: string): string {
  if (c.accept('on') || c.accept('true')) return 'on'
  if (c.accept('off') || c.accept('false')) return 'off'
  return name === 'compupdate' && c.accept('preset') ? 'preset' : 'on'
}
