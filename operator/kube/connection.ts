import type { RequestOptions } from 'node:https'
import { KubeConfig } from '@kubernetes/client-node'
import { MillraceError } from '../../lib/errors.ts'
import type { KubeConnection, KubeCredentials } from '../../lib/kube/connection.ts'

/**
 * Finds the API server and proves who is asking as every client of the official library does: in a pod by its service
 * account, elsewhere by the kubeconfig, with all its plug-ins. Only that part of the library is used: its own HTTP opens a
 * connection per request, and its informers stop for good after an error.
 */
export function kubeConfigConnection(env: NodeJS.ProcessEnv): KubeConnection {
  const config = new KubeConfig()
  if (env.KUBERNETES_SERVICE_HOST !== undefined && env.KUBECONFIG === undefined) config.loadFromCluster()
  else config.loadFromDefault()
  const cluster = config.getCurrentCluster()
  if (!cluster) {
    throw new MillraceError(
      'InvalidSpec',
      'KUBECONFIG: there is no current context, or its cluster is missing',
    )
  }
  return { url: cluster.server.replace(/\/+$/, ''), credentials: () => credentials(config) }
}

async function credentials(config: KubeConfig): Promise<KubeCredentials> {
  const options: RequestOptions = {}
  await config.applyToHTTPSOptions(options)
  const header = new Headers(options.headers as Record<string, string>).get('authorization')
  return {
    token: header?.replace(/^Bearer /, ''),
    ca: text(options.ca),
    cert: text(options.cert),
    key: text(options.key),
    insecure: options.rejectUnauthorized === false,
  }
}

function text(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined
  return Buffer.isBuffer(value) ? value.toString('utf8') : String(value)
}
