import type { Random } from '../../torture/random.ts'
import { shuffled } from '../random.ts'
import { ident } from '../sql.ts'
import { definitionOf } from './columns.ts'
import type { FuzzColumn } from './table.ts'

export type PartitionStrategy = 'list' | 'range' | 'hash'

export const STRATEGIES: readonly PartitionStrategy[] = ['list', 'range', 'hash']

export interface PartitionsOf {
  readonly strategy: PartitionStrategy
  /** The partitioned table as SQL names it, its schema, and what its partitions are called after. */
  readonly root: string
  readonly schema: string
  readonly number: number
  /** An integer column with values from 0 to 9. */
  readonly by: FuzzColumn
  readonly columns: readonly FuzzColumn[]
  /** Partitions may be made apart, with their columns in another order and with holes, and attached. */
  readonly mayAttach: boolean
}

export interface Partitions {
  readonly ddl: readonly string[]
  /** Those that hold rows, as SQL names them. */
  readonly leaves: readonly string[]
}

/** Partitions for all values: lists and ranges also have a default one, and one that is partitioned itself. */
export function makePartitions(random: Random, table: PartitionsOf): Partitions {
  const { strategy, root, schema, number, by } = table
  const ddl: string[] = []
  const leaves: string[] = []
  const nameOf = (suffix: string | number) => `${ident(schema)}.${ident(`p${number}_${suffix}`)}`

  function add(suffix: string | number, bounds: string, parent = root): void {
    const leaf = nameOf(suffix)
    leaves.push(leaf)
    if (!table.mayAttach || random.chance(0.5)) {
      ddl.push(`create table ${leaf} partition of ${parent} ${bounds}`)
      return
    }
    const columns = shuffled(random, [...table.columns.map(definitionOf), '"junk" int'])
    ddl.push(
      `create table ${leaf} (${columns.join(', ')})`,
      `alter table ${leaf} drop column "junk"`,
      `alter table ${parent} attach partition ${leaf} ${bounds}`,
    )
  }

  const parted = (bounds: string, how: PartitionStrategy) => {
    const name = nameOf('sub')
    ddl.push(`create table ${name} partition of ${root} ${bounds} partition by ${how} (${ident(by.name)})`)
    return name
  }

  if (strategy === 'hash') {
    for (let rest = 0; rest < 3; rest += 1) add(rest, `for values with (modulus 3, remainder ${rest})`)
  } else if (strategy === 'list') {
    add(1, 'for values in (0, 1, 2)')
    const sub = parted('for values in (3, 4, 5)', 'range')
    add('s1', 'for values from (minvalue) to (5)', sub)
    add('s2', 'for values from (5) to (maxvalue)', sub)
    add('d', 'default')
  } else {
    add(1, 'for values from (minvalue) to (3)')
    const sub = parted('for values from (3) to (7)', 'hash')
    add('s1', 'for values with (modulus 2, remainder 0)', sub)
    add('s2', 'for values with (modulus 2, remainder 1)', sub)
    add('d', 'default')
  }
  return { ddl, leaves }
}
