import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { MillraceError } from '../errors.ts'

/** Where the API server is, and how to prove who is asking. */
export interface KubeConnection {
  /** Scheme, host and port, such as `https://10.96.0.1:443`. */
  readonly url: string
  /** Asked before every request; implementations cache, and notice rotation. */
  credentials(): Promise<KubeCredentials>
}

export interface KubeCredentials {
  readonly token?: string | undefined
  /** PEM. */
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly insecure?: boolean | undefined
}

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'

/** How long a token file is trusted before it is read again. The kubelet replaces it well before it expires. */
const REREAD_MILLISECONDS = 60_000

/** The connection that every pod has through its service account. Token and CA files are read again every minute. */
export function inClusterConnection(
  env: NodeJS.ProcessEnv = process.env,
  folder = SERVICE_ACCOUNT,
): KubeConnection {
  const host = env.KUBERNETES_SERVICE_HOST
  const port = env.KUBERNETES_SERVICE_PORT
  if (host === undefined || port === undefined) {
    throw new MillraceError(
      'InvalidSpec',
      'KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: run this in a pod, or set MILLRACE_KUBECONFIG to the path of a kubeconfig',
    )
  }
  const url = `https://${host.includes(':') ? `[${host}]` : host}:${port}`
  return fileConnection(url, `${folder}/token`, `${folder}/ca.crt`)
}

/** A connection with a token and a CA that are files. */
export function fileConnection(url: string, tokenFile?: string, caFile?: string): KubeConnection {
  let cached: { at: number; credentials: KubeCredentials } | undefined
  return {
    url,
    async credentials() {
      if (cached && Date.now() - cached.at < REREAD_MILLISECONDS) return cached.credentials
      const [token, ca] = await Promise.all([readOptional(tokenFile), readOptional(caFile)])
      cached = { at: Date.now(), credentials: { token: token?.trim(), ca } }
      return cached.credentials
    },
  }
}

async function readOptional(path: string | undefined): Promise<string | undefined> {
  return path === undefined ? undefined : await readFile(path, 'utf8')
}

interface Kubeconfig {
  'current-context'?: string
  contexts?: { name: string; context: { cluster: string; user: string } }[]
  clusters?: {
    name: string
    cluster: {
      server: string
      'certificate-authority'?: string
      'certificate-authority-data'?: string
      'insecure-skip-tls-verify'?: boolean
    }
  }[]
  users?: {
    name: string
    user: {
      token?: string
      tokenFile?: string
      'client-certificate'?: string
      'client-certificate-data'?: string
      'client-key'?: string
      'client-key-data'?: string
    }
  }[]
}

/** The current context of a kubeconfig file; knows tokens and client certificates, not plug-ins. */
export async function kubeconfigConnection(path: string): Promise<KubeConnection> {
  // Eight megabytes that a worker in a cluster need not pay.
  const { parse } = await import('yaml')
  const config = parse(await readFile(path, 'utf8')) as Kubeconfig
  const context = config.contexts?.find((entry) => entry.name === config['current-context'])?.context
  const cluster = config.clusters?.find((entry) => entry.name === context?.cluster)?.cluster
  const user = config.users?.find((entry) => entry.name === context?.user)?.user
  if (!cluster) throw new MillraceError('InvalidSpec', `kubeconfig ${path} has no usable current-context`)

  const folder = dirname(path)
  const content = async (data: string | undefined, file: string | undefined) => {
    if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8')
    return file === undefined ? undefined : await readFile(resolve(folder, file), 'utf8')
  }
  const credentials: KubeCredentials = {
    token: user?.token ?? (await content(undefined, user?.tokenFile))?.trim(),
    ca: await content(cluster['certificate-authority-data'], cluster['certificate-authority']),
    cert: await content(user?.['client-certificate-data'], user?.['client-certificate']),
    key: await content(user?.['client-key-data'], user?.['client-key']),
    insecure: cluster['insecure-skip-tls-verify'],
  }
  return { url: cluster.server.replace(/\/+$/, ''), credentials: async () => credentials }
}
