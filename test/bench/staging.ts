/**
 * What it costs to bring a table into S3 for COPY, against `COPY … TO STDOUT (FORMAT csv)` into a file by psql, in one run.
 *
 *     node test/bench/staging.ts        MB=617 ROUNDS=3 READERS=5
 *
 * Everything is on one machine: PostgreSQL, the readers with their compression, and the S3 server. Fails when the median of
 * the rounds is more than 1.15 times as slow. Processor time is printed too, by process: wall time means little where others are
 * at work.
 */

import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { ownedTempDir } from '../../hack/process/temp-dir.ts'
import { query, startPostgres } from '../../hack/services/postgres.ts'
import { createGarbage } from '../../workers/backfill/garbage.ts'
import { openObjects } from '../../workers/destination/redshift/aws.ts'
import { createBuffers } from '../../workers/destination/redshift/buffers.ts'
import { columnRules, scannedColumns } from '../../workers/destination/redshift/columns.ts'
import { openRedshiftDestination } from '../../workers/destination/redshift/destination.ts'
import { redshiftSettings } from '../../workers/destination/redshift/settings.ts'
import { createRowStage } from '../../workers/destination/redshift/stage-rows.ts'
import { readTableDefinition } from '../../workers/source/catalog.ts'
import { openConnection } from '../../workers/source/connect.ts'
import { keyRanges } from '../../workers/source/scan-plan.ts'
import { finishChunk, readChunk } from '../../workers/source/scan-read.ts'
import { startS3Server } from '../emulator/s3/server.ts'
import { targetOf } from '../integration/postgres-target.ts'

const MAX_RATIO = 1.15
const MEGABYTES = Number(process.env.MB ?? 617)
const ROUNDS = Number(process.env.ROUNDS ?? 3)
const READERS = Number(process.env.READERS ?? 5)
/** Of the table below, as CSV. */
const BYTES_PER_ROW = 206
const ROWS = Math.round((MEGABYTES * 1e6) / BYTES_PER_ROW)
const CHUNKS = READERS * 6
const buffers = createBuffers()
const garbage = createGarbage()
const TABLE = { schema: 'public', name: 'big' }

const dir = ownedTempDir()
const [source, s3] = await Promise.all([
  startPostgres({
    dir: join(dir, 'source'),
    settings: { shared_buffers: '1GB', fsync: 'off', max_wal_size: '8GB' },
  }),
  startS3Server({ dir: join(dir, 's3'), buckets: ['bench'] }),
])
try {
  await query(
    source.url,
    `CREATE TABLE big (id bigint PRIMARY KEY, account integer, kind smallint, amount numeric(14,4), ratio double precision,
       ok boolean, made timestamptz, day date, title text, note text, data jsonb)`,
  )
  await query(
    source.url,
    `INSERT INTO big SELECT i, i % 9973, i % 7, (i % 1000003) / 13.0, sqrt(i), i % 3 = 0,
       timestamptz '2026-01-01 00:00+00' + i * interval '1.5 s', date '2020-01-01' + i % 2000, 'title ' || i,
       CASE WHEN i % 17 > 0 THEN md5(i::text) || E'\\t\\\\' END, jsonb_build_object('i', i, 'h', md5((i * 3)::text))
     FROM generate_series(1, ${ROWS}) AS i`,
  )
  await query(source.url, 'VACUUM ANALYZE big')
  process.exitCode = await measure()
} finally {
  await Promise.all([source.stop('immediate'), s3.stop()])
}

interface Cost {
  /** Wall time. */
  readonly seconds: number
  /** Processor time of PostgreSQL; of psql or the readers; of the S3 server. */
  readonly source: number
  readonly client: number
  readonly s3: number
}

async function measure(): Promise<number> {
  const staging = await openStaging()
  await staging.run(0)
  const rounds: { readonly file: Cost; readonly staged: Cost }[] = []
  for (let round = 1; round <= ROUNDS; round += 1) {
    // What comes second finds other caches and another clock of the processor; so each comes first in its turn.
    const first = round % 2 === 0 ? await cost(() => staging.run(round)) : undefined
    const file = await cost(async () => copyOnce())
    const staged = first ?? (await cost(() => staging.run(round)))
    rounds.push({ file, staged })
    console.log(`round ${round}: ratio ${(staged.seconds / file.seconds).toFixed(2)}`)
    console.log(`  COPY into a file  ${text(file)}`)
    console.log(`  staging           ${text(staged)}`)
  }
  await staging.close()
  const ratio = median(rounds.map(({ file, staged }) => staged.seconds / file.seconds))
  const busy = ({ source, client, s3 }: Cost) => source + client + s3
  const processor = median(rounds.map(({ file, staged }) => busy(staged) / busy(file)))
  const database = median(rounds.map(({ file, staged }) => staged.source / file.source))
  console.log(
    `staging: rows=${ROWS} readers=${READERS} ratio=${ratio.toFixed(2)} limit=${MAX_RATIO} processor=${processor.toFixed(2)} postgres=${database.toFixed(2)}`,
  )
  return ratio <= MAX_RATIO ? 0 : 1
}

async function cost(work: () => Promise<void>): Promise<Cost> {
  const before = cpu()
  const began = performance.now()
  await work()
  const seconds = (performance.now() - began) / 1000
  // Sessions that have ended are counted when PostgreSQL has noticed.
  await sleep(200)
  const after = cpu()
  return {
    seconds,
    source: after.source - before.source,
    client: after.client - before.client,
    s3: after.s3 - before.s3,
  }
}

function text({ seconds, source, client, s3 }: Cost): string {
  const [wall, ...parts] = [seconds, source, client, s3].map((each) => each.toFixed(2))
  return `${wall} s; processor: PostgreSQL ${parts[0]}, client ${parts[1]}, S3 ${parts[2]}`
}

function median(values: readonly number[]): number {
  return [...values].sort((x, y) => x - y)[Math.floor(values.length / 2)] ?? Number.POSITIVE_INFINITY
}

function copyOnce(): void {
  const file = join(dir, 'big.csv')
  const { status } = spawnSync('psql', [source.url, '-qc', 'COPY big TO STDOUT (FORMAT csv)', '-o', file], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status !== 0) throw new Error('psql has failed')
}

/** Processor time so far of a process, of its children, and of those that have ended, seconds. */
function cpuSeconds(pid: number | undefined): number {
  if (pid === undefined) return 0
  const ticks = (of: number | string, fields: number) =>
    statOf(of)
      .slice(11, 11 + fields)
      .reduce((sum, each) => sum + Number(each), 0)
  const children = readdirSync('/proc').filter(
    (each) => /^\d+$/.test(each) && statOf(each)[1] === String(pid),
  )
  return (ticks(pid, 4) + children.reduce((sum, each) => sum + ticks(each, 2), 0)) / 100
}

/** Fields of a process's stat from its state on; none when it is gone. */
function statOf(pid: number | string): string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  } catch {
    return []
  }
}

function cpu() {
  return {
    source: cpuSeconds(source.pid()),
    s3: cpuSeconds(s3.pid()),
    client: process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6 + endedChildren(),
  }
}

/** Of this process's children that have ended: psql. */
function endedChildren(): number {
  const [user, system] = statOf(process.pid).slice(13, 15)
  return (Number(user) + Number(system)) / 100
}

async function openStaging() {
  const signal = new AbortController().signal
  const spec = {
    region: s3.region,
    clusterIdentifier: 'none',
    database: 'dev',
    s3: { bucket: 'bench', prefix: '' },
    endpoints: { s3: s3.endpoint },
    credentialsSecretRef: { name: 's3', accessKeyIdKey: 'id', secretAccessKeyKey: 'key' },
    onUnfit: 'Truncate',
    ledgerSchema: 'millrace',
  } as const
  const secrets = {
    read: async (_mount: string, file: string) => (file === 'username' ? s3.accessKeyId : s3.secretAccessKey),
  }
  // Only asked how columns are converted: it connects to nothing.
  const destination = openRedshiftDestination({
    destination: spec,
    pipelineUid: 'bench',
    pipelineLabel: 'bench',
    secrets,
    process: 'bench',
    log: pino({ level: 'silent' }),
  })
  const objects = await openObjects({ destination: spec, secrets })
  const connections = await Promise.all(
    Array.from({ length: READERS }, () =>
      openConnection(targetOf(source.url, { process: 'bench' }), { purpose: 'scan', signal }),
    ),
  )
  const [first] = connections
  if (!first) throw new Error('no readers')
  const definition = await readTableDefinition(first, TABLE, { field: 'bench' })
  const columns = scannedColumns(columnRules(definition, redshiftSettings({})), spec.onUnfit)
  const step = Math.ceil(ROWS / CHUNKS)
  const ranges = keyRanges(Array.from({ length: CHUNKS - 1 }, (_, index) => [String((index + 1) * step)]))

  async function run(round: number): Promise<void> {
    const waiting = [...ranges.entries()]
    let rows = 0n
    await Promise.all(
      connections.map(async (connection) => {
        for (let next = waiting.shift(); next; next = waiting.shift()) {
          const [number, range] = next
          const stage = createRowStage(objects, `${round}/${number}-`, columns, buffers)
          const pieces = readChunk(connection, {
            definition,
            range,
            expression: destination.columnExpression,
            copyOptions: destination.copyOptions,
            snapshot: '',
          })
          const staged = await stage.write(collecting(pieces), () => {}, signal)
          await finishChunk(connection, range)
          rows += staged.rows
        }
      }),
    )
    if (rows !== BigInt(ROWS)) throw new Error(`${rows} rows were staged instead of ${ROWS}`)
  }

  async function close(): Promise<void> {
    await Promise.all(connections.map((connection) => connection.close()))
    objects.close()
    await destination.close()
  }

  return { run, close }
}

/** What the reader of a backfill does with what has passed. */
async function* collecting(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const piece of pieces) {
    garbage.add(piece.length)
    yield piece
  }
}
