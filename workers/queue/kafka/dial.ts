import { connect as connectPlain, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Address, TlsSettings } from './driver.ts'
import { ConnectionFailed } from './errors.ts'

const KEEP_ALIVE_DELAY = 30_000

/**
 * A connected socket, encrypted and verified when `tls` is given. Throws `ConnectionFailed` with the system's code.
 *
 * @param timeout milliseconds for the whole of it
 */
export function dial(
  address: Address,
  tls: TlsSettings | undefined,
  timeout: number,
  signal: AbortSignal,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const { host, port } = address
    const name = isIP(host) ? {} : { servername: host }
    const ca = tls?.ca === undefined ? {} : { ca: tls.ca }
    const socket = tls ? connectTls({ host, port, ...name, ...ca }) : connectPlain({ host, port })
    const end = (settle: () => void) => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      settle()
    }
    const fail = (reason: unknown) =>
      end(() => {
        socket.on('error', () => {})
        socket.destroy()
        reject(reason)
      })
    const onAbort = () => fail(signal.reason)
    const timer = setTimeout(
      () => fail(new ConnectionFailed(address, 'ETIMEDOUT', `no connection within ${timeout / 1000} s`)),
      timeout,
    )
    signal.addEventListener('abort', onAbort, { once: true })
    socket.once('error', (error) => fail(ConnectionFailed.from(error, address)))
    socket.once(tls ? 'secureConnect' : 'connect', () =>
      end(() => {
        socket.setKeepAlive(true, KEEP_ALIVE_DELAY)
        socket.setNoDelay(true)
        resolve(socket)
      }),
    )
  })
}
