import type { Random } from '../../torture/random.ts'
import { between, shuffled } from '../random.ts'
import { ident } from '../sql.ts'
import { anyType, keyType } from './choose-type.ts'
import { oddName } from './names.ts'
import type { FuzzColumn, Identity } from './table.ts'

/** The columns of a table before it is decided how they are laid out. */
export interface ChosenColumns {
  /** In the order of the definition. */
  readonly ordered: readonly FuzzColumn[]
  readonly key: readonly FuzzColumn[]
  /** The column that partitions are cut by. */
  readonly partitionBy: FuzzColumn | undefined
}

const PARTITION_TYPE = { sql: 'integer', pool: Array.from({ length: 10 }, (_, at) => String(at)) }

/** Chooses columns: up to three of a key, up to thirty others, each of any type. */
export function chooseColumns(
  random: Random,
  identity: Identity,
  partitioned: boolean,
  used: Set<string>,
): ChosenColumns {
  const hasKey = identity !== 'full' && identity !== 'none'
  const key: FuzzColumn[] = []
  for (let count = hasKey ? random.pick([1, 1, 1, 2, 2, 3]) : 0; count > 0; count -= 1)
    key.push({ name: oddName(random, used), type: keyType(random), notNull: true, key: true })
  const others: FuzzColumn[] = []
  for (let count = random.below(random.chance(0.2) ? 31 : 10); count > 0; count -= 1)
    others.push({
      name: oddName(random, used),
      type: anyType(random),
      notNull: random.chance(0.15),
      key: false,
    })
  const partitionBy = partitioned
    ? { name: oddName(random, used), type: PARTITION_TYPE, notNull: true, key: hasKey }
    : undefined
  if (partitionBy && hasKey) key.push(partitionBy)
  else if (partitionBy) others.push(partitionBy)
  return { ordered: shuffled(random, [...key, ...others]), key, partitionBy }
}

/** A column as a definition has it. */
export const definitionOf = ({ name, type, notNull }: FuzzColumn): string =>
  `${ident(name)} ${type.sql}${type.collation ? ` collate ${type.collation}` : ''}${notNull ? ' not null' : ''}`

/** The column list of a definition, with columns between that nobody writes. */
export interface Layout {
  readonly lines: readonly string[]
  /** Columns that are dropped right away: they leave holes. */
  readonly dropped: readonly string[]
  /** A sequence belongs to the table, so its partitions cannot be made apart from it. */
  readonly owned: boolean
}

/** Lays columns out, with dropped, generated, identity and serial ones between them. */
export function layOut(
  random: Random,
  { ordered, partitionBy }: ChosenColumns,
  identity: Identity,
  used: Set<string>,
): Layout {
  const lines: string[] = []
  const dropped: string[] = []
  const hole = () => {
    const name = oddName(random, used)
    dropped.push(name)
    const type = random.pick(['int', 'text', 'numeric(5,2)', 'text[]'])
    lines.push(`${ident(name)} ${type} ${random.pick(['', 'default null'])}`)
  }
  // With REPLICA IDENTITY FULL the source would refuse updates of such a table.
  const mayGenerate = !partitionBy && (!identity.endsWith('full') || random.chance(0.1))
  for (const column of ordered) {
    if (random.chance(0.12)) hole()
    if (mayGenerate && random.chance(0.06)) lines.push(generatedFrom(random, column, used))
    lines.push(definitionOf(column))
  }
  const before = lines.length
  if (random.chance(0.1)) {
    const way = random.pick(['always', 'by default'])
    lines.push(`${ident(oddName(random, used))} bigint generated ${way} as identity`)
  }
  if (random.chance(0.08)) lines.push(`${ident(oddName(random, used))} serial`)
  const owned = lines.length > before
  if (random.chance(0.1)) hole()
  return { lines, dropped, owned }
}

function generatedFrom(random: Random, { name, type }: FuzzColumn, used: Set<string>): string {
  // Virtual ones may use built-in types alone.
  const simple = !type.sql.startsWith('public.') && !type.collation
  const kind = simple ? random.pick(['stored', 'virtual']) : 'stored'
  return `${ident(oddName(random, used))} boolean generated always as ((${ident(name)} is null)) ${kind}`
}

/** ALTER TABLE statements that say how large values are stored. */
export function storageOf(random: Random, table: string, columns: readonly FuzzColumn[]): string[] {
  return columns
    .filter(({ type, key }) => !key && type.large === true && random.chance(0.5))
    .map(
      ({ name }) =>
        `alter table ${table} alter ${ident(name)} set storage ${random.pick(['external', 'external', 'extended', 'main', 'plain'])}`,
    )
}

/** A further key of its own, for tables that have a primary key and another replica identity. */
export function extraKey(random: Random, used: Set<string>): FuzzColumn {
  const generate = (source: Random) => String(between(source, -1e9, 1e9))
  const type = { sql: 'bigint', pool: ['0'], generate }
  return { name: oddName(random, used), type, notNull: true, key: true }
}
