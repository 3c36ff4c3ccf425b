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
