import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MillraceError } from '../../lib/errors.ts'
import type { Destination } from '../../workers/destination/destination.ts'
import type { Fence, LedgerTable } from '../../workers/destination/ledger.ts'
import type { TableDefinition } from '../../workers/source/table.ts'
import { type Fault, seededRandom } from '../emulator/faults.ts'
import { batch, chunkOf, define, hold, nameOf, plan } from './destination-postgres-fixture.ts'
import { openTestWarehouse, type TestWarehouse, useS3 } from './destination-redshift-fixture.ts'

useS3()
let warehouse: TestWarehouse

beforeAll(async () => {
  warehouse = await openTestWarehouse('redshift_faults')
  const destination = warehouse.open()
  await destination.check(new AbortController().signal)
  await destination.close()
})

afterAll(() => warehouse?.close())

/** Every kind of fault, each as likely as not to happen a few times in a run. */
const FAULTS: readonly Fault[] = [
  { kind: 'throttle', probability: 0.3, times: 6 },
  { kind: 'drop-request', probability: 0.15, times: 4 },
  { kind: 'internal-error', probability: 0.15, times: 4 },
  { kind: 'lose-response', probability: 0.2, times: 4 },
  { kind: 'lose-response', operations: ['BatchExecuteStatement'], times: 2 },
  { kind: 'serialization-error', probability: 0.2, times: 5 },
  { kind: 'serialization-error', sql: '^(delete|copy)', times: 3 },
  { kind: 'fail', message: 'Disk Full', probability: 0.1, times: 2 },
  { kind: 'abort', sql: '^(insert|copy|update)', probability: 0.3, times: 3 },
  { kind: 'disconnect', probability: 0.1, times: 3 },
  { kind: 'slow', ms: 150, probability: 0.2, times: 5 },
  { kind: 's3-error', status: 503, probability: 0.5, times: 3 },
  { kind: 's3-cut', bytes: 30, probability: 0.5, times: 3 },
]

/** Makes a call until it succeeds, as workers do: what is retryable is made again. */
async function insist<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof MillraceError) || !error.retryable || attempt > 30) throw error
      await sleep(20)
    }
  }
}

const rowsOf = (from: number, to: number, version: string) =>
  Array.from({ length: to - from }, (_, n) => [String(from + n), `${version} of ${from + n}`])

interface World {
  readonly random: () => number
  readonly definition: TableDefinition
  /** Opens the destination anew, as a pod does that takes the place of a killed one. */
  restart(): Promise<void>
  readonly at: () => Destination
  readonly signal: () => AbortSignal
}

const CHUNKS = 5
const CHUNK_ROWS = 40

/** A pod is killed at some moment of a call: the call's outcome is nobody's to know. */
async function orKilled(world: World, work: () => Promise<unknown>): Promise<boolean> {
  const killed = world.random() < 0.4
  const working = work()
  if (!killed) {
    await working
    return false
  }
  working.catch(() => {})
  await Promise.race([sleep(world.random() * 250), working.catch(() => {})])
  await world.restart()
  return true
}

async function backfill(world: World, uid: string): Promise<void> {
  const { definition } = world
  const ledger = () => world.at().ledger
  const row = await insist(() =>
    ledger().claimTable(
      {
        table: nameOf(definition),
        destination: nameOf(definition),
        topic: 't',
        historyComplete: false,
        unknownHistory: false,
      },
      world.signal(),
    ),
  )
  await insist(async () => {
    const found = await ledger().readBackfill(uid, world.signal())
    if (!found) await ledger().recordHeld(row, hold(uid, 'Truncate'), world.signal())
  })
  for (;;) {
    // Killed after the last commit, before its answer: all is copied, and no further attempt has anything to do.
    const known = await insist(() => ledger().readBackfill(uid, world.signal()))
    if (known?.state === 'copied') return
    const begun = await insist(() => ledger().beginAttempt(uid, world.signal()))
    const fence: Fence = { uid, attempt: begun.attempt }
    const killed = await orKilled(world, () => attempt(world, fence))
    if (!killed) return
  }
}

async function attempt(world: World, fence: Fence): Promise<void> {
  const { definition } = world
  const [destination, signal] = [world.at(), world.signal()]
  const { ledger } = destination
  let found = await insist(() => ledger.readBackfill(fence.uid, signal))
  if (!found?.actionDone) {
    const request = {
      fence,
      backfill: found as NonNullable<typeof found>,
      target: nameOf(definition),
      definition,
      options: { deletes: 'Hard' as const },
    }
    found = (await insist(() => destination.runAction(request, signal))).backfill
  }
  if (found.plan === 0) found = await insist(() => ledger.recordPlan(fence, plan(1, CHUNKS), signal))
  const chunks = await insist(() => ledger.readChunks(fence.uid, 1, signal))
  await Promise.all(
    chunks
      .filter(({ state }) => state !== 'done')
      .map(({ chunk, range }) => {
        const rows = rowsOf(chunk * CHUNK_ROWS, (chunk + 1) * CHUNK_ROWS, 'copy')
        const request = chunkOf(
          fence,
          definition,
          rows.map((values) => values.join(',')),
          { chunk, range, snapshot: '' },
        )
        return insist(() => destination.writeChunk(request, signal))
      }),
  )
  await insist(() => ledger.recordCopied(fence, signal))
}

async function apply(world: World, uid: string): Promise<Map<string, string>> {
  const { definition, random } = world
  const expected = new Map<string, string>()
  for (const [id, value] of rowsOf(0, CHUNKS * CHUNK_ROWS, 'copy'))
    expected.set(id as string, value as string)
  for (let round = 1; round <= 4; round += 1) {
    const large = random() < 0.4
    const upserts = new Map<string, string>()
    for (let n = 0; n < (large ? 1500 : 8); n += 1) {
      const id = String(Math.floor(random() * (large ? 4000 : 250)))
      upserts.set(id, `round ${round} ${'x'.repeat(large ? 40 : 1)}`)
    }
    const deletes = Array.from({ length: 3 }, () => String(Math.floor(random() * 250))).filter(
      (id, index, all) => !upserts.has(id) && all.indexOf(id) === index,
    )
    for (const id of deletes) expected.delete(id)
    for (const [id, value] of upserts) expected.set(id, value)
    const wanted = BigInt(100 + round)
    // The ledger tells whether it is done: a restarted pod reads it, and so does one that lost a race against itself.
    for (;;) {
      const current = await insist(() => world.at().ledger.readTable(nameOf(definition), world.signal()))
      if ((current?.nextOffset ?? 0n) >= wanted) break
      const flush = () =>
        world.at().flush(
          batch(current as LedgerTable, definition, {
            upserts: [...upserts],
            deletes: deletes.map((id) => [id]),
            nextOffset: wanted,
            ...(round === 1 ? { drained: uid } : {}),
          }),
          world.signal(),
        )
      await orKilled(world, async () => {
        try {
          await flush()
        } catch (error) {
          if (!(error instanceof MillraceError) || !error.retryable) throw error
          await sleep(20)
        }
      })
    }
  }
  return expected
}

describe('faults', () => {
  const runs = FAULTS.flatMap((fault, index) =>
    [1, 2, 3, 4].map((round) => [`${fault.kind} ${index}`, round, fault] as const),
  )

  it.each(runs)(
    '%s, run %i: equal in the end',
    async (name, round, fault) => {
      const random = seededRandom(Number(name.split(' ')[1]) * 100 + round)
      const table = `t_${name.replaceAll(/\W/g, '_')}_${round}`
      const uid = `b-${table}`
      let abort = new AbortController()
      let destination = warehouse.open()
      const world: World = {
        random,
        definition: define(table, ['id integer', 'v text'], ['id']),
        async restart() {
          abort.abort(new Error('killed'))
          void destination.close().catch(() => {})
          abort = new AbortController()
          destination = warehouse.open()
        },
        at: () => destination,
        signal: () => abort.signal,
      }
      // The last two runs of each have all faults at once.
      warehouse.emulator.faults.set(
        round > 2 ? FAULTS.map((each) => ({ ...each, times: 2 })) : [{ ...fault, times: fault.times ?? 5 }],
      )
      let expected: Map<string, string>
      try {
        await backfill(world, uid)
        expected = await apply(world, uid)
      } finally {
        warehouse.emulator.faults.set([])
      }
      const found = await warehouse.rows(`select id, v from "${table}" order by id`)
      const wanted = [...expected]
        .map(([id, v]) => [Number(id), v])
        .sort((a, b) => Number(a[0]) - Number(b[0]))
      expect(found.length).toBe(wanted.length)
      expect(found).toEqual(wanted)
      expect(await destination.ledger.readBackfill(uid, abort.signal)).toMatchObject({
        state: 'drained',
        rows: BigInt(CHUNKS * CHUNK_ROWS),
      })
      await destination.close()
    },
    240_000,
  )
})
