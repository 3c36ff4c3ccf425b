import { createServer } from 'node:net'

/** True when `port` can be bound on `host` right now. */
export function isPortFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)))
  })
}

/** Ports that were handed out: whoever asked for one may not listen on it yet when the system would give it again. */
const given = new Set<number>()
const REMEMBERED = 1_000

/** A port that nothing listens on, and none that was asked for lately. Another process may still take it before the caller does. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  for (;;) {
    const port = await unusedPort(host)
    if (given.has(port)) continue
    if (given.size >= REMEMBERED) given.clear()
    given.add(port)
    return port
  }
}

function unusedPort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({ port: 0, host }, () => {
      const address = server.address()
      server.close(() =>
        typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no address')),
      )
    })
  })
}

/** `preferred` when it is free on all of `hosts`, else some other port that is. */
export async function pickPort(preferred: number, hosts: readonly string[] = ['127.0.0.1']): Promise<number> {
  const free = async (port: number) =>
    (await Promise.all(hosts.map((host) => isPortFree(port, host)))).every(Boolean)
  if (await free(preferred)) return preferred
  for (let tries = 0; tries < 20; tries++) {
    const port = await freePort(hosts[0])
    if (await free(port)) return port
  }
  throw new Error(`no port is free on all of ${hosts.join(', ')}`)
}
