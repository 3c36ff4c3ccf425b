/**
 * What it costs to bring a table into S3 for COPY, against `COPY … TO STDOUT (FORMAT csv)` into a file by psql, in one run.
 *
 *     node test/bench/staging.ts        MB=617 ROUNDS=3 READERS=5
 *
 * Everything is on one machine: PostgreSQL, the readers with their compression, and the S3 server. Fails when the median of
 * the rounds is more than 1.15 times as slow.
 */

import { spawnSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
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
import { openConnection, type PostgresTarget } from '../../workers/source/connect.ts'
import { keyRanges } from '../../workers/source/scan-plan.ts'
import { finishChunk, readChunk } from '../../workers/source/scan-read.ts'
import { startS3Server } from '../emulator/s3/server.ts'

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

async function measure(): Promise<number> {
  await stageOnce(0)
  const ratios: number[] = []
  for (let round = 1; round <= ROUNDS; round += 1) {
    const start = cpu()
    const file = copyOnce()
    await sleep(100)
    const between = cpu()
    const staged = await stageOnce(round)
    await sleep(100)
    const end = cpu()
    if (staged.rows !== BigInt(ROWS)) throw new Error(`${staged.rows} rows were staged instead of ${ROWS}`)
    ratios.push(staged.seconds / file.seconds)
    console.log(
      `  processor time: COPY ${(between.source - start.source).toFixed(1)} s; staging: PostgreSQL ${(end.source - between.source).toFixed(1)} s, readers ${(end.readers - between.readers).toFixed(1)} s, S3 ${(end.s3 - between.s3).toFixed(1)} s`,
    )
    console.log(
      `round ${round}: COPY of ${(file.bytes / 1e6).toFixed(0)} MB into a file ${file.seconds.toFixed(2)} s, into S3 ${staged.seconds.toFixed(2)} s (${staged.files} files), ratio ${(staged.seconds / file.seconds).toFixed(2)}`,
    )
  }
  const median = ratios.sort((a, b) => a - b)[Math.floor(ratios.length / 2)] ?? Number.POSITIVE_INFINITY
  console.log(`staging: rows=${ROWS} readers=${READERS} ratio=${median.toFixed(2)} limit=${MAX_RATIO}`)
  return median <= MAX_RATIO ? 0 : 1
}

function copyOnce(): { seconds: number; bytes: number } {
  const file = join(dir, 'big.csv')
  const began = performance.now()
  const { status } = spawnSync('psql', [source.url, '-qc', 'COPY big TO STDOUT (FORMAT csv)', '-o', file], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status !== 0) throw new Error('psql has failed')
  return { seconds: (performance.now() - began) / 1000, bytes: statSync(file).size }
}

/** Processor time so far of a process and of its children that have ended, seconds. */
function cpuSeconds(pid: number | undefined): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / 100
}

function cpu() {
  return { source: cpuSeconds(source.pid()), s3: cpuSeconds(s3.pid()), readers: cpuSeconds(process.pid) }
}

async function stageOnce(round: number): Promise<{ seconds: number; rows: bigint; files: number }> {
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
    Array.from({ length: READERS }, () => openConnection(target(), { purpose: 'scan', signal })),
  )
  const [first] = connections
  if (!first) throw new Error('no readers')
  const definition = await readTableDefinition(first, TABLE, { field: 'bench' })
  const columns = scannedColumns(columnRules(definition, redshiftSettings({})), spec.onUnfit)
  const step = Math.ceil(ROWS / CHUNKS)
  const ranges = keyRanges(Array.from({ length: CHUNKS - 1 }, (_, index) => [String((index + 1) * step)]))
  const waiting = [...ranges.entries()]
  let rows = 0n
  let files = 0
  const began = performance.now()
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
        files += staged.keys.length
      }
    }),
  )
  const seconds = (performance.now() - began) / 1000
  await Promise.all(connections.map((connection) => connection.close()))
  objects.close()
  await destination.close()
  return { seconds, rows, files }
}

/** What the reader of a backfill does with what has passed. */
async function* collecting(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const piece of pieces) {
    garbage.add(piece.length)
    yield piece
  }
}

function target(): PostgresTarget {
  const { hostname, port, pathname, username, password } = new URL(source.url)
  return {
    host: hostname,
    port: Number(port),
    database: pathname.slice(1),
    sslMode: 'Disable',
    field: 'spec.source.postgres',
    credentials: { mount: 'source', field: 'f' },
    ca: undefined,
    secrets: { read: async (_mount, file) => (file === 'username' ? username : password) },
    process: 'bench',
  }
}
