import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { KubeConnection } from './connection.ts'
import { KubernetesRejection, parseRejection, rejectionError, unavailableError } from './rejection.ts'

/** HTTP to the API server: connections are kept and used again, because a TLS handshake costs more than most requests. */
export interface Transport {
  /** One request and its whole answer, parsed. Rejections and failures are MillraceErrors. */
  call(request: KubeRequest, signal: AbortSignal): Promise<unknown>
  /** One request of which the answer never ends by itself. The caller destroys it. */
  open(request: KubeRequest, signal: AbortSignal): Promise<IncomingMessage>
  /** Closes idle connections. Idempotent. */
  close(): void
}

export interface KubeRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly query?: Readonly<Record<string, string | undefined>>
  readonly body?: object
  readonly contentType?: string
}

export interface TransportOptions {
  /** How long an ordinary request may take, milliseconds. */
  readonly timeout?: number
  /** Called once for each answer, with status 0 when there was none. For metrics. */
  readonly onAnswer?: (method: string, status: number, seconds: number) => void
}

const TIMEOUT = 30_000

/** Half-open connections are noticed by the kernel after this many milliseconds of silence, and ten probes. */
const TCP_KEEP_ALIVE = 15_000

export function createTransport(connection: KubeConnection, options: TransportOptions = {}): Transport {
  const base = new URL(connection.url)
  const secure = base.protocol === 'https:'
  const agentOptions = { keepAlive: true, keepAliveMsecs: TCP_KEEP_ALIVE, maxFreeSockets: 4 }
  const agent = secure ? new HttpsAgent(agentOptions) : new HttpAgent(agentOptions)
  const prefix = base.pathname.replace(/\/+$/, '')

  async function send(request: KubeRequest, signal: AbortSignal, timeout: number): Promise<IncomingMessage> {
    const credentials = await connection.credentials()
    signal.throwIfAborted()
    const body = request.body === undefined ? undefined : Buffer.from(JSON.stringify(request.body))
    const headers: Record<string, string | number> = { accept: 'application/json', 'user-agent': 'millrace' }
    if (credentials.token) headers.authorization = `Bearer ${credentials.token}`
    if (body) {
      headers['content-type'] = request.contentType ?? 'application/json'
      headers['content-length'] = body.length
    }
    return await new Promise((resolve, reject) => {
      const settings = {
        method: request.method,
        hostname: base.hostname.replace(/^\[|\]$/g, ''),
        port: base.port || (secure ? 443 : 80),
        path: prefix + request.path + queryString(request.query),
        headers,
        agent,
      }
      const message = secure
        ? httpsRequest({
            ...settings,
            ca: credentials.ca,
            cert: credentials.cert,
            key: credentials.key,
            rejectUnauthorized: credentials.insecure !== true,
          })
        : httpRequest(settings)
      // Rejects by hand and destroys without an error, because an error could reach the socket when it has no listener.
      // Not Node's `signal` option either: that is handed to the socket too, which outlives the request in the pool.
      const giveUp = (reason: unknown) => {
        reject(reason)
        message.destroy()
      }
      // Until the head of the answer is here; what follows has its own limits.
      message.setTimeout(timeout, () => giveUp(new Error(`timed out after ${timeout / 1000} s`)))
      const onAbort = () => giveUp(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      message.on('close', () => signal.removeEventListener('abort', onAbort))
      message.on('response', (response) => {
        message.setTimeout(0)
        resolve(response)
      })
      message.on('error', reject)
      message.end(body)
    })
  }

  async function answer(
    request: KubeRequest,
    signal: AbortSignal,
    take: (response: IncomingMessage) => Promise<unknown>,
  ): Promise<unknown> {
    const doing = describe(request)
    const started = performance.now()
    let status = 0
    try {
      const response = await send(request, signal, options.timeout ?? TIMEOUT)
      status = response.statusCode ?? 0
      if (status >= 400) {
        throw parseRejection(status, await readText(response), response.headers['retry-after'])
      }
      return await take(response)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (error instanceof KubernetesRejection) throw rejectionError(error, doing)
      throw unavailableError(error, doing)
    } finally {
      options.onAnswer?.(request.method, status, (performance.now() - started) / 1000)
    }
  }

  return {
    async call(request, signal) {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(options.timeout ?? TIMEOUT)])
      try {
        return await answer(request, limit, async (response) => JSON.parse(await readText(response)))
      } catch (error) {
        if (signal.aborted) throw signal.reason
        if (limit.aborted) throw unavailableError(new Error('timed out'), describe(request))
        throw error
      }
    },
    async open(request, signal) {
      return (await answer(request, signal, async (response) => response)) as IncomingMessage
    },
    close() {
      agent.destroy()
    },
  }
}

async function readText(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of response) parts.push(part as Buffer)
  return Buffer.concat(parts).toString('utf8')
}

function queryString(query: KubeRequest['query']): string {
  const pairs = Object.entries(query ?? {}).flatMap(([name, value]) =>
    value === undefined || value === '' ? [] : [`${name}=${encodeURIComponent(value)}`],
  )
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`
}

function describe(request: KubeRequest): string {
  return `${request.method} ${request.path}`
}
