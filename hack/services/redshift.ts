import { join } from 'node:path'
import { daemon, type Lifetime } from '../process/daemon.ts'
import { until } from '../process/wait.ts'

export interface RedshiftEmulatorOptions {
  /** Folder for objects, pid files, the log and the list of statements. */
  dir: string
  /** Address that both listen on. Default: loopback. */
  host?: string
  ports: { s3: number; dataApi: number }
  /** PostgreSQL server, as a superuser; each of its databases is a Redshift database of the same name. */
  postgresUrl: string
  lifetime: Lifetime
  logFile?: string
}

/** The project's emulator of Redshift's Data API, with the S3 server that its COPY reads from. Together they are one part. */
export interface RedshiftEmulatorHandle {
  dataUrl: string
  s3Url: string
  bucket: string
  accessKeyId: string
  secretAccessKey: string
  port: number
  logFile: string
  /** Undefined when one of the two does not run. */
  pid(): number | undefined
  stop(): Promise<void>
  kill9(): Promise<void>
  /** Starts what does not run and waits until it answers. */
  start(): Promise<void>
}

export const EMULATOR_BUCKET = 'millrace-local'

/** Describes both without starting them: how another process takes over detached ones. */
export async function describeRedshiftEmulator(
  options: RedshiftEmulatorOptions,
): Promise<RedshiftEmulatorHandle> {
  const { dir, ports, lifetime, postgresUrl } = options
  const host = options.host ?? '127.0.0.1'
  // Imported only where it is needed: it brings the S3 SDK along.
  const { describeS3Server } = await import('../../test/emulator/s3/server.ts')
  const s3 = await describeS3Server({ dir, host, port: ports.s3, lifetime, buckets: [EMULATOR_BUCKET] })
  const checkout = join(import.meta.dirname, '../..')
  const emulator = daemon({
    name: 'redshift',
    command: [
      process.execPath,
      join(checkout, 'test/emulator/main.ts'),
      '--every-database',
      ...['--postgres', postgresUrl, '--s3', s3.endpoint, '--host', host, '--port', String(ports.dataApi)],
      ...['--s3-key', s3.accessKeyId, '--s3-secret', s3.secretAccessKey],
      ...['--statements', join(checkout, 'out/redshift-statements.jsonl')],
    ],
    dir,
    logFile: options.logFile ?? join(dir, 'redshift.log'),
    lifetime,
    cwd: checkout,
  })
  const dataUrl = `http://${host}:${ports.dataApi}`
  const answers = async () => (await fetch(`${dataUrl}/_emulator/requests`)).ok
  return {
    dataUrl,
    s3Url: s3.endpoint,
    bucket: EMULATOR_BUCKET,
    accessKeyId: s3.accessKeyId,
    secretAccessKey: s3.secretAccessKey,
    port: ports.dataApi,
    logFile: emulator.logFile,
    pid: () => (s3.pid() === undefined ? undefined : emulator.running()?.pid),
    async stop() {
      await Promise.all([emulator.stop(), s3.stop()])
    },
    async kill9() {
      await Promise.all([emulator.kill9(), s3.kill9()])
    },
    async start() {
      await s3.start()
      if (!emulator.running()) emulator.start()
      await until(answers, {
        what: `the Redshift emulator on ${dataUrl}`,
        timeoutMs: 20_000,
        assertPossible: emulator.assertRunning,
      })
    },
  }
}
