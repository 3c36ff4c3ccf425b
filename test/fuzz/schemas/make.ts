import { query } from '../../../hack/services/postgres.ts'
import type { Random } from '../../torture/random.ts'
import type { Say } from '../report.ts'
import { connect, ident, refusal } from '../sql.ts'
import { EXTENSIONS_DDL, TYPES_DDL } from './own-types.ts'
import type { FuzzTable } from './table.ts'
import { alikeTables, randomTable, SCHEMAS, TRIGGER_DDL } from './tables.ts'

/** What the destination has beforehand: nothing, the extensions, all types, or most of the tables too. */
type Prepared = 'nothing' | 'extensions' | 'types' | 'tables'

export interface MadeTables {
  readonly tables: readonly FuzzTable[]
  /** Those that somebody else has made in the destination. */
  readonly precreated: ReadonlySet<FuzzTable>
}

export interface MakeOptions {
  readonly source: string
  readonly destination: string
  readonly count: number
  readonly say: Say
}

/** Tries for each table that is wanted: PostgreSQL refuses some combinations. */
const TRIES = 10

/** Makes random tables in the source, and what the destination is to have before. */
export async function makeTables(random: Random, options: MakeOptions): Promise<MadeTables> {
  const { source, destination, count, say } = options
  const prepared = random.pick<Prepared>(['nothing', 'nothing', 'types', 'extensions', 'tables'])
  await query(source, `${TYPES_DDL}; ${TRIGGER_DDL}; ${schemasDdl()}`)
  if (prepared === 'extensions') await query(destination, EXTENSIONS_DDL)
  if (prepared === 'types') await query(destination, TYPES_DDL)
  if (prepared === 'tables') await query(destination, `${TYPES_DDL}; ${TRIGGER_DDL}; ${schemasDdl()}`)
  const tables: FuzzTable[] = []
  const precreated = new Set<FuzzTable>()
  const used = new Set<string>()
  const admin = await connect(source)
  try {
    const make = async (table: FuzzTable): Promise<string | undefined> => {
      try {
        await admin.query(['begin', ...table.ddl, 'commit'].join(';\n'))
        return undefined
      } catch (error) {
        await admin.query('rollback')
        return refusal(error).message
      }
    }
    let refused = 0
    for (let number = 1; tables.length < count && number <= count * TRIES; number += 1) {
      const own = random.fork(`table ${number}`)
      const table = randomTable(own, number, used)
      if ((await make(table)) !== undefined) {
        refused += 1
        continue
      }
      tables.push(table)
      if (prepared !== 'tables' || !own.chance(0.7)) continue
      await query(destination, ['begin', ...table.ddl, 'commit'].join(';\n'))
      precreated.add(table)
    }
    // Their names may be taken.
    for (const table of alikeTables()) if ((await make(table)) === undefined) tables.push(table)
    say(`${tables.length} tables made, ${refused} refused by PostgreSQL; the destination has ${prepared}`)
  } finally {
    await admin.end()
  }
  return { tables, precreated }
}

const schemasDdl = (): string => SCHEMAS.map((name) => `create schema ${ident(name)}`).join('; ')
