import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { CreateBucketCommand, ListBucketsCommand, S3Client } from '@aws-sdk/client-s3'
import { cached, contentHash } from '../../../hack/process/cache.ts'
import { daemon, type Lifetime } from '../../../hack/process/daemon.ts'
import { freePort } from '../../../hack/process/ports.ts'
import { run } from '../../../hack/process/run.ts'
import { until } from '../../../hack/process/wait.ts'
import type { S3Options } from '../copy/s3.ts'

/** versitygw keeps objects as files, and takes the checksums that today's SDKs send. */
const MODULE = 'github.com/versity/versitygw/cmd/versitygw@v1.8.0'

export interface S3ServerOptions {
  /** Folder for objects, pid file and log. */
  readonly dir: string
  readonly host?: string
  /** Default: a free port. */
  readonly port?: number
  readonly buckets?: readonly string[]
  /** Default: ends with this process. */
  readonly lifetime?: Lifetime
  readonly logFile?: string
}

/** An S3 server, and what a client needs to know of it. */
export interface S3Server extends S3Options {
  readonly logFile: string
  pid(): number | undefined
  stop(): Promise<void>
  kill9(): Promise<void>
  /** Starts it on what it has, and waits until it answers. */
  start(): Promise<void>
}

const REGION = 'us-east-1'
const ACCESS_KEY = 'millrace'
const SECRET_KEY = 'millrace-local'

/** Path of the server's program, built from its Go module the first time (about a minute). */
export async function s3ServerBinary(): Promise<string> {
  const folder = await cached(`versitygw-${contentHash([], [MODULE])}`, async (to) => {
    await run(['go', 'install', '-trimpath', '-ldflags=-s -w', MODULE], {
      env: { GOBIN: to, CGO_ENABLED: '0', GOFLAGS: '-modcacherw' },
    })
  })
  return join(folder, 'versitygw')
}

/** Starts an S3 server and waits until it answers: well under a second once it is built. */
export async function startS3Server(options: S3ServerOptions): Promise<S3Server> {
  const port = options.port ?? (await freePort(options.host ?? '127.0.0.1'))
  const server = await describeS3Server({ ...options, port })
  await server.start()
  return server
}

/** Describes a server with this address without starting it: how another process takes over a detached one. */
export async function describeS3Server(
  options: S3ServerOptions & { readonly port: number },
): Promise<S3Server> {
  const { dir, port } = options
  const host = options.host ?? '127.0.0.1'
  const [objects, metadata] = [join(dir, 'objects'), join(dir, 'metadata')]
  for (const folder of [dir, objects, metadata]) mkdirSync(folder, { recursive: true })
  const server = daemon({
    name: 's3',
    command: [
      await s3ServerBinary(),
      '--port',
      `${host}:${port}`,
      '--region',
      REGION,
      '--quiet',
      'posix',
      // Not every file system has extended attributes.
      '--sidecar',
      metadata,
      objects,
    ],
    dir,
    logFile: options.logFile ?? join(dir, 's3.log'),
    lifetime: options.lifetime ?? 'bound',
    env: { ROOT_ACCESS_KEY: ACCESS_KEY, ROOT_SECRET_KEY: SECRET_KEY },
  })
  const access = {
    endpoint: `http://${host}:${port}`,
    region: REGION,
    accessKeyId: ACCESS_KEY,
    secretAccessKey: SECRET_KEY,
  }
  const start = async () => {
    if (!server.running()) server.start()
    const client = s3Client(access)
    try {
      await until(async () => Boolean(await client.send(new ListBucketsCommand())), {
        what: `S3 on ${access.endpoint}`,
        timeoutMs: 20_000,
        assertPossible: server.assertRunning,
      })
    } finally {
      client.destroy()
    }
    await createBuckets(access, options.buckets ?? [])
  }
  return {
    ...access,
    logFile: server.logFile,
    pid: () => server.running()?.pid,
    stop: () => server.stop(),
    kill9: server.kill9,
    start,
  }
}

/** A client of the server. */
export function s3Client({ endpoint, region, accessKeyId, secretAccessKey }: S3Options): S3Client {
  return new S3Client({
    endpoint,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
    maxAttempts: 1,
  })
}

async function createBuckets(access: S3Options, buckets: readonly string[]) {
  const client = s3Client(access)
  try {
    for (const Bucket of buckets) {
      await client.send(new CreateBucketCommand({ Bucket })).catch((error: Error) => {
        if (!/^BucketAlready/.test(error.name)) throw error
      })
    }
  } finally {
    client.destroy()
  }
}
