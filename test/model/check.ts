import type { Batch } from '../../workers/destination/destination.ts'
import type { ClosedFacts, LedgerTable } from '../../workers/destination/ledger.ts'
import { comparePositions, formatPosition, type Position } from '../../workers/source/position.ts'
import { KEYS, type Row } from './source.ts'
import type { StoredRow } from './store.ts'
import { world } from './world.ts'

/** What must hold at every moment, and at the end. */
export interface Check {
  /** The first thing that did not hold. */
  broken: string | undefined
  /** Rows that only the destination has may be gone by right. */
  cleared: boolean
  /** Rows of before the first join, of which nothing is known, may be left. */
  stale: boolean
  /** Somebody has deleted a topic, or made it anew. */
  remade: boolean
  confirmed(lsn: bigint): void
  deleted(topic: string, before: bigint): void
  moved(before: LedgerTable, after: LedgerTable): void
  acted(uid: string, action: string): void
  copied(uid: string): void
  closed(facts: ClosedFacts): void
  applied(row: LedgerTable, batch: Batch): void
  drained(uid: string, release: Position): void
  /** Source and destination, once everything is at rest. Undefined: equal, as far as it is promised. */
  final(): string | undefined
}

const FOREIGN = 100

export function createCheck(): Check {
  const actions = new Map<string, number>()

  function fault(invariant: string, what: string): void {
    check.broken ??= `${invariant}: ${what}`
  }

  function recorded(): bigint {
    let most = 0n
    for (const { value } of world().topics.get('ns.p.__capture')?.records ?? []) {
      const { kind, lsn } = JSON.parse(value.toString()) as { kind: string; lsn?: string }
      if (kind !== 'state' || lsn === undefined) continue
      const [high = '0', low = '0'] = lsn.split('/')
      const found = (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`)
      if (found > most) most = found
    }
    return most
  }

  function timelineOf(epoch: number): number | undefined {
    for (const { value } of world().topics.get('ns.p.__capture')?.records ?? []) {
      const content = JSON.parse(value.toString()) as { kind: string; epoch?: number; timeline?: number }
      if (content.kind === 'state' && content.epoch === epoch) return content.timeline
    }
    return undefined
  }

  const live = () => world().store.rows.filter(({ deleted }) => !deleted)

  function columnsToCompare(): ('v' | 't' | 'd')[] {
    return world().source.catalog().wide && world().store.columns?.includes('d')
      ? ['v', 't', 'd']
      : ['v', 't']
  }

  function text(row: StoredRow | Row): string {
    const of: Readonly<Record<string, string | null>> =
      'values' in row ? row.values : { v: row.v, t: row.t, d: row.d }
    return columnsToCompare()
      .map((name) => of[name] ?? 'NULL')
      .join(',')
  }

  function differsAt(k: string, wanted: Row | undefined, complete: boolean): string | undefined {
    const found = live().filter(({ values }) => values.k === k)
    if (found.length > 1)
      return `k${k}: ${found.length} rows in the destination: ${found.map(text).join(' | ')}`
    const [row] = found
    if (!wanted) return row && !check.stale ? `k${k}: only in the destination: ${text(row)}` : undefined
    if (!row)
      return complete ? `k${k}: missing in the destination, the source has ${text(wanted)}` : undefined
    if (text(row) === text(wanted)) return undefined
    if (!complete && check.stale && row.values.v !== wanted.v) return undefined
    return `k${k}: the destination has ${text(row)}, the source ${text(wanted)}`
  }

  function compare(
    rows: ReadonlyMap<number, Row>,
    complete: boolean,
    except: ReadonlySet<string>,
  ): string | undefined {
    if (world().profile.keyless) {
      if (!complete) return undefined
      const [have, want] = [live(), [...rows.values()]].map((all) =>
        all.map((row) => `${'values' in row ? row.values.k : row.k},${text(row)}`).sort(),
      )
      return JSON.stringify(have) === JSON.stringify(want)
        ? undefined
        : `the destination has ${have?.join(' | ')}, the source ${want?.join(' | ')}`
    }
    for (let k = 0; k < KEYS; k += 1) {
      if (except.has(String(k))) continue
      const wanted = [...rows.values()].find((row) => row.k === String(k))
      const found = differsAt(String(k), wanted, complete)
      if (found) return found
    }
    return undefined
  }

  const check: Check = {
    broken: undefined,
    cleared: false,
    stale: world().profile.stale,
    remade: false,
    confirmed(lsn) {
      if (lsn > recorded())
        fault('I5', `${lsn} was confirmed to the source, and the record says ${recorded()}`)
    },
    deleted(topic, before) {
      const row = world().store.tables.find((each) => each.topic === topic)
      if (row && row.incarnation !== '' && before > row.nextOffset) {
        fault('I6', `records up to ${before} are deleted, and the ledger stands at ${row.nextOffset}`)
      }
    },
    moved(before, after) {
      if (comparePositions(after.position, before.position) < 0) {
        fault(
          'I4',
          `the ledger went back from ${formatPosition(before.position)} to ${formatPosition(after.position)}`,
        )
      }
    },
    acted(uid, action) {
      const times = (actions.get(uid) ?? 0) + 1
      actions.set(uid, times)
      if (times > 1) fault('I8', `${action} of ${uid} ran ${times} times`)
      if (action === 'DoNothing') return
      check.cleared = true
      check.stale = false
    },
    copied() {},
    closed({ uid, code, message }) {
      // Neither is ever taken back, so that it is true at any time after it was.
      if (code !== 'Cancelled' || !/ was (deleted|cancelled)$/.test(message)) return
      const object = [...world().cluster.backfills.values()].find(({ metadata }) => metadata.uid === uid)
      if (object && !object.spec.cancel) fault('R8', `${uid} was closed (${message}), and it is there`)
    },
    applied(_row, batch) {
      if (batch.truncate) check.cleared = true
    },
    drained(uid, release) {
      const { state, rowsAt, catalogAt } = world().source
      const commit = state.commits.find((each) => each.commit?.start === release.lsn)
      // That log is dead; the gap record follows.
      if (!commit?.commit || timelineOf(release.epoch) !== state.timeline) return
      const touched = new Set<string>()
      for (const each of state.commits) {
        if ((each.commit?.start ?? 0n) <= release.lsn) continue
        for (const item of each.items) {
          if (item.op === 'T') for (let k = 0; k < KEYS; k += 1) touched.add(String(k))
          else if (item.op !== 'M') for (const row of [item.before, item.after]) if (row) touched.add(row.k)
        }
      }
      if (world().profile.keyless && touched.size > 0) return
      const { end } = commit.commit
      // A definition that came later changed rows without a change.
      if (state.catalogs.some((each) => each.end > end)) return
      // Nor does a type that changed during the copy show in the log; the table stops once capture has seen it (rule R20).
      const { holdLSN } = world().store.backfills.get(uid) ?? { holdLSN: 0n }
      if (catalogAt(holdLSN).retypes !== catalogAt(end).retypes) return
      const found = compare(rowsAt(end), true, touched)
      if (found) fault('drained too early', found)
    },
    final() {
      const { source, store, profile, cluster } = world()
      const [row] = store.tables
      if (!row) return undefined
      const listed = cluster.pipeline.spec.tables.length > 0
      if (!listed) return undefined
      if (row.needsEmptying || row.state === 'stopped') return `the table was never mended (${row.state})`
      const found = compare(source.state.visible, row.historyComplete, new Set())
      if (found) return `${found}${row.historyComplete ? '' : ' (its history is not complete)'}`
      for (let index = 0; index < profile.foreign; index += 1) {
        const rows = live().filter(({ values }) => values.k === String(FOREIGN + index))
        if (rows.length > 1) return 'a row that only the destination has is there twice'
        if (rows.length === 0 && !check.cleared) return 'DoNothing lost a row that only the destination has'
      }
      return undefined
    },
  }
  return check
}

/** Rows that are in the destination before anything begins. */
export function firstRows(): StoredRow[] {
  const { profile } = world()
  const row = (k: string, v: string, t: string): StoredRow => ({ values: { k, v, t }, deleted: false })
  return [
    ...Array.from({ length: profile.foreign }, (_, index) => row(String(FOREIGN + index), `x${index}`, 'x')),
    ...(profile.stale ? Array.from({ length: KEYS }, (_, k) => row(String(k), `old${k}`, `oldT${k}`)) : []),
  ]
}
