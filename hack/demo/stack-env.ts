import { readFile } from 'node:fs/promises'

/** What `make up` wrote down about the running local stack. */
export interface StackEnv {
  readonly KUBECONFIG: string
  readonly KUBECTL: string
  /** Superusers, from this machine. */
  readonly SOURCE_ADMIN_URL: string
  readonly REPLICA_ADMIN_URL: string
  readonly DEST_ADMIN_URL: string
  readonly KAFKA_BROKERS: string
  readonly POD_SOURCE_HOST: string
  readonly POD_SOURCE_PORT: string
  readonly POD_REPLICA_HOST: string
  readonly POD_REPLICA_PORT: string
  readonly POD_DEST_HOST: string
  readonly POD_DEST_PORT: string
  readonly POD_KAFKA_BROKERS: string
  readonly IMAGE: string
  /** The Redshift emulator and its S3 server, from this machine and from pods; only where they were asked for. */
  readonly REDSHIFT_DATA_URL?: string
  readonly POD_REDSHIFT_DATA_URL?: string
  readonly POD_S3_URL?: string
  readonly S3_BUCKET?: string
  readonly S3_ACCESS_KEY_ID?: string
  readonly S3_SECRET_ACCESS_KEY?: string
}

export type DestinationKind = 'postgres' | 'redshift'

/** What `make … DEST=` asks for. */
export function destinationKind(value = process.env.DEST): DestinationKind {
  if (value === undefined || value === '' || value === 'postgres') return 'postgres'
  if (value === 'redshift') return 'redshift'
  throw new Error(`DEST is ${value}: set it to postgres or redshift`)
}

/** The Redshift emulator of the stack. */
export interface RedshiftEnv {
  readonly dataUrl: string
  readonly podDataUrl: string
  readonly podS3Url: string
  readonly bucket: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** Throws, naming the cure, when the stack has no Redshift emulator. */
export function requireRedshift(env: StackEnv): RedshiftEnv {
  const need = (value: string | undefined): string => {
    if (value === undefined || value === '')
      throw new Error(`the stack has no Redshift emulator: start it with 'make up DEST=redshift'`)
    return value
  }
  return {
    dataUrl: need(env.REDSHIFT_DATA_URL),
    podDataUrl: need(env.POD_REDSHIFT_DATA_URL),
    podS3Url: need(env.POD_S3_URL),
    bucket: need(env.S3_BUCKET),
    accessKeyId: need(env.S3_ACCESS_KEY_ID),
    secretAccessKey: need(env.S3_SECRET_ACCESS_KEY),
  }
}

const FILE = 'out/stack.env'

/** Reads `out/stack.env`; throws, naming the cure, when the stack is not up. */
export async function readStackEnv(file = FILE): Promise<StackEnv & Readonly<Record<string, string>>> {
  const text = await readFile(file, 'utf8').catch(() => {
    throw new Error(`${file} is not there: start the local stack with 'make up'`)
  })
  const pairs = text
    .split('\n')
    .filter((line) => line.includes('=') && !line.startsWith('#'))
    .map((line): [string, string] => {
      const at = line.indexOf('=')
      return [line.slice(0, at), line.slice(at + 1).replace(/^(['"])(.*)\1$/, '$2')]
    })
  return Object.fromEntries(pairs) as unknown as StackEnv & Record<string, string>
}
