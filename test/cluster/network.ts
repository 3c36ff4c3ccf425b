import { createServer, connect as dial, type Socket } from 'node:net'

/** A network between two ends that can be cut. */
export interface Network {
  readonly port: number
  /** Resets every connection. */
  cut(): void
  /**
   * Connections stay open and nothing passes any more: neither end learns that the other is gone, until the returned function
   * does what keepalives would do after a while.
   */
  silence(): () => void
  /**
   * Whoever has dialled sees its connections end, and the other side does not, until the returned function does what keepalives
   * would do after a while.
   */
  abandon(): () => void
  /** New connections lead to another port; those that are open stay where they are. */
  lead(to: number): void
  /** Nothing passes, neither in old nor in new connections, until the returned function is called. */
  stall(): () => void
  close(): Promise<void>
}

/** Passes on what comes to a port of its own. */
export async function startNetwork(host: string, port: number): Promise<Network> {
  const pairs = new Set<readonly [Socket, Socket]>()
  const silent = new WeakSet<readonly [Socket, Socket]>()
  let stalls = 0
  let target = port
  const server = createServer({ pauseOnConnect: true }, (near) => {
    const far = dial({ host, port: target })
    const pair = [near, far] as const
    pairs.add(pair)
    const end = () => {
      // Whoever is silenced does not hear either that the other end has closed.
      if (silent.has(pair)) return
      pairs.delete(pair)
      near.destroy()
      far.destroy()
    }
    for (const socket of pair) {
      socket.setNoDelay(true)
      socket.on('error', end)
      socket.on('close', end)
    }
    near.pipe(far)
    far.pipe(near)
    if (stalls > 0) pause(pair)
  })
  const pause = (pair: readonly [Socket, Socket]) => {
    const [near, far] = pair
    near.unpipe(far)
    far.unpipe(near)
    near.pause()
    far.pause()
  }
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')

  function destroy(open: Iterable<readonly [Socket, Socket]>): void {
    for (const pair of open) {
      silent.delete(pair)
      pairs.delete(pair)
      for (const socket of pair) socket.destroy()
    }
  }

  function silence(): () => void {
    const open = [...pairs]
    for (const pair of open) {
      silent.add(pair)
      pause(pair)
    }
    return () => destroy(open)
  }

  return {
    port: address.port,
    cut: () => destroy(pairs),
    silence,
    abandon() {
      const open = [...pairs]
      const end = silence()
      for (const [near] of open) near.destroy()
      return end
    },
    lead(to) {
      target = to
    },
    stall() {
      stalls += 1
      for (const pair of pairs) pause(pair)
      return () => {
        stalls -= 1
        if (stalls > 0) return
        for (const pair of pairs) {
          if (silent.has(pair)) continue
          const [near, far] = pair
          near.pipe(far)
          far.pipe(near)
        }
      }
    },
    async close() {
      destroy(pairs)
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
