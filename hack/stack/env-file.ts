import { databaseUrl } from '../services/postgres.ts'
import type { RedshiftEmulatorHandle } from '../services/redshift.ts'
import { destinationDatabase, type StackConfig, sourceDatabase } from './config.ts'
import type { StackPaths } from './paths.ts'

/** Everything that scripts and tests need to find the stack, by the names they know it under. */
export function stackVariables(
  config: StackConfig,
  paths: StackPaths,
  kubeconfig: string,
  image: string,
): Record<string, string> {
  const { ports, passwords, podSide } = config
  const source = (user: string, password: string, port: number) =>
    databaseUrl(user, password, port, sourceDatabase)
  const destination = (user: string, password: string) =>
    databaseUrl(user, password, ports.destination, destinationDatabase)
  return {
    KUBECONFIG: kubeconfig,
    KUBECTL: paths.kubectl,
    STACK_DIR: paths.state,
    IMAGE: image,

    SOURCE_DATABASE: sourceDatabase,
    SOURCE_USER: 'millrace',
    SOURCE_PASSWORD: passwords.millrace,
    SOURCE_URL: source('millrace', passwords.millrace, ports.primary),
    SOURCE_ADMIN_URL: source('postgres', passwords.superuser, ports.primary),
    SOURCE_APP_URL: source('shop', passwords.shop, ports.primary),
    REPLICA_URL: source('millrace', passwords.millrace, ports.replica),
    REPLICA_ADMIN_URL: source('postgres', passwords.superuser, ports.replica),

    DEST_DATABASE: destinationDatabase,
    DEST_USER: 'loader',
    DEST_PASSWORD: passwords.loader,
    DEST_URL: destination('loader', passwords.loader),
    DEST_ADMIN_URL: destination('postgres', passwords.superuser),

    KAFKA_BROKERS: `127.0.0.1:${ports.kafka}`,

    POD_SOURCE_HOST: podSide.host,
    POD_SOURCE_PORT: String(ports.primary),
    POD_REPLICA_HOST: podSide.host,
    POD_REPLICA_PORT: String(ports.replica),
    POD_DEST_HOST: podSide.host,
    POD_DEST_PORT: String(ports.destination),
    POD_KAFKA_BROKERS: `${podSide.host}:${ports.kafkaPods}`,
  }
}

/** The same for the Redshift emulator, which this machine and pods reach by one address. */
export function redshiftVariables(
  emulator: Pick<RedshiftEmulatorHandle, 'dataUrl' | 's3Url' | 'bucket' | 'accessKeyId' | 'secretAccessKey'>,
): Record<string, string> {
  return {
    REDSHIFT_DATA_URL: emulator.dataUrl,
    S3_BUCKET: emulator.bucket,
    S3_ACCESS_KEY_ID: emulator.accessKeyId,
    S3_SECRET_ACCESS_KEY: emulator.secretAccessKey,
    POD_REDSHIFT_DATA_URL: emulator.dataUrl,
    POD_S3_URL: emulator.s3Url,
  }
}

/** Renders variables so that both a shell and Node's --env-file read them. */
export function renderEnv(variables: Record<string, string>): string {
  return Object.entries(variables)
    .map(([key, value]) => `${key}=${quoted(value)}\n`)
    .join('')
}

function quoted(value: string): string {
  if (/^[\w@%+=:,./-]*$/.test(value)) return value
  if (value.includes("'")) throw new Error(`a value with a single quote cannot be written: ${value}`)
  return `'${value}'`
}
