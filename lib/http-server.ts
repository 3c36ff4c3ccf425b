import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Registry } from 'prom-client'

/** What a process answers about itself over HTTP. */
export interface HealthServer {
  /** A named check for liveness; returns undefined when well, else what is wrong. */
  addLivenessCheck(name: string, check: () => string | undefined): void
  setReady(ready: boolean): void
  /** The port that is listened on. */
  readonly port: number
  /** Idempotent. */
  close(): Promise<void>
}

/**
 * Serves /healthz (are the liveness checks well), /readyz and /metrics.
 *
 * @param port 0 picks a free one
 */
export async function startHealthServer(port: number, metrics: Registry): Promise<HealthServer> {
  const checks = new Map<string, () => string | undefined>()
  let ready = false

  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0]
    if (path === '/healthz') return answerChecks(response, checks)
    if (path === '/readyz') return answer(response, ready ? 200 : 503, ready ? 'ready\n' : 'not ready\n')
    if (path === '/metrics') return void answerMetrics(response, metrics)
    return answer(response, 404, 'there are /healthz, /readyz and /metrics\n')
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, () => resolve())
  })

  let closed: Promise<void> | undefined
  return {
    addLivenessCheck: (name, check) => void checks.set(name, check),
    setReady: (value) => {
      ready = value
    },
    port: (server.address() as AddressInfo).port,
    close() {
      closed ??= new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
      return closed
    },
  }
}

function answerChecks(response: ServerResponse, checks: ReadonlyMap<string, () => string | undefined>): void {
  const failures = [...checks].flatMap(([name, check]) => {
    const wrong = check()
    return wrong === undefined ? [] : [`${name}: ${wrong}`]
  })
  answer(
    response,
    failures.length === 0 ? 200 : 503,
    failures.length === 0 ? 'ok\n' : `${failures.join('\n')}\n`,
  )
}

async function answerMetrics(response: ServerResponse, metrics: Registry): Promise<void> {
  try {
    const text = await metrics.metrics()
    response.setHeader('content-type', metrics.contentType)
    answer(response, 200, text)
  } catch (error) {
    answer(response, 500, `${error instanceof Error ? error.message : String(error)}\n`)
  }
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.statusCode = status
  response.end(text)
}
