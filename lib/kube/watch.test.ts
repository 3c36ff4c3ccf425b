import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { KubeObject, WatchHandler } from './api.ts'
import { createTransport } from './transport.ts'
import { type WatchOptions, watchForever } from './watch.ts'

const RESOURCE = {
  group: 'millrace.dev',
  version: 'v1alpha1',
  plural: 'pipelines',
  kind: 'Pipeline',
  namespace: 'n',
}

type Answer = (response: ServerResponse, query: URLSearchParams) => void

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup()
})

/** A server that gives one scripted answer per request, and what a watch over it tells its handler. */
async function script(
  answers: Answer[],
  options: WatchOptions = {},
  handler?: Partial<WatchHandler<KubeObject>>,
) {
  const requests: URLSearchParams[] = []
  const sockets = new Set<unknown>()
  const server = createServer((request: IncomingMessage, response) => {
    sockets.add(request.socket)
    const query = new URL(request.url ?? '', 'http://x').searchParams
    requests.push(query)
    const next = answers.shift()
    if (next) next(response, query)
    else response.writeHead(200).flushHeaders()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const stop = new AbortController()
  cleanups.push(() => {
    stop.abort()
    server.closeAllConnections()
    server.close()
  })
  const transport = createTransport({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    credentials: async () => ({ token: 't' }),
  })
  const seen: string[] = []
  let wake = () => {}
  const note = (text: string) => {
    seen.push(text)
    wake()
  }
  const done = watchForever(
    transport,
    RESOURCE,
    {},
    {
      replace: (objects) => note(`replace ${objects.map(describeObject).join(' ')}`.trim()),
      changed: (object) => note(`changed ${describeObject(object)}`),
      deleted: (object) => note(`deleted ${describeObject(object)}`),
      ...handler,
    },
    stop.signal,
    { minDelay: 1, maxDelay: 5, ...options },
  )
  done.catch(() => {})
  async function until(count: number): Promise<string[]> {
    while (seen.length < count) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    return seen
  }
  return { done, until, requests, sockets, stop }
}

const describeObject = (object: KubeObject) => `${object.metadata.name}@${object.metadata.resourceVersion}`
const object = (name: string, version: number) => ({ metadata: { name, resourceVersion: String(version) } })
const list =
  (version: number, names: string[], page?: string): Answer =>
  (response) =>
    response.end(
      JSON.stringify({
        metadata: { resourceVersion: String(version), ...(page && { continue: page }) },
        items: names.map((name) => object(name, version)),
      }),
    )
const events =
  (list: [string, object][], end = true): Answer =>
  (response) => {
    for (const [type, object] of list) response.write(`${JSON.stringify({ type, object })}\n`)
    if (end) response.end()
  }
const status =
  (code: number): Answer =>
  (response) =>
    response.writeHead(code).end(JSON.stringify({ kind: 'Status', message: 'no', reason: 'X', code }))
const reset: Answer = (response) => response.socket?.resetAndDestroy()

describe('watchForever', () => {
  it('reads all pages, then watches from the version of the list', async () => {
    const watch = await script([
      list(5, ['a'], 'more'),
      list(5, ['b']),
      events([
        ['ADDED', object('c', 6)],
        ['BOOKMARK', object('', 9)],
        ['DELETED', object('a', 10)],
      ]),
    ])
    expect(await watch.until(3)).toEqual(['replace a@5 b@5', 'changed c@6', 'deleted a@10'])
    expect(watch.requests[1]?.get('continue')).toBe('more')
    expect(watch.requests[2]?.get('resourceVersion')).toBe('5')
    expect(watch.requests[2]?.get('allowWatchBookmarks')).toBe('true')
  })

  it.each<[string, Answer]>([
    ['an orderly end', events([['BOOKMARK', object('', 7)]])],
    [
      'a reset in the middle',
      (response) => {
        response.write(`${JSON.stringify({ type: 'BOOKMARK', object: object('', 7) })}\n{"ty`)
        setTimeout(() => response.socket?.resetAndDestroy(), 30)
      },
    ],
  ])('goes on from the last version after %s', async (_, end) => {
    const watch = await script([list(5, []), end, events([['MODIFIED', object('a', 8)]])])
    expect(await watch.until(2)).toEqual(['replace', 'changed a@8'])
    expect(watch.requests[2]?.get('resourceVersion')).toBe('7')
  })

  it.each<[string, Answer]>([
    ['status 410', status(410)],
    ['an event with code 410', events([['ERROR', { code: 410, message: 'too old' }]])],
  ])('lists anew after %s', async (_, gone) => {
    const watch = await script([list(5, ['a']), gone, list(9, ['b']), events([['ADDED', object('c', 10)]])])
    expect(await watch.until(3)).toEqual(['replace a@5', 'replace b@9', 'changed c@10'])
  })

  it.each<[string, Answer]>([
    ['an unavailable server', status(503)],
    ['a refused list', status(403)],
    ['a reset connection', reset],
    ['an answer that is not JSON', (response) => response.end('<html>\n')],
  ])('never stops for good: %s, again and again', async (_, trouble) => {
    const told: unknown[] = []
    const watch = await script([trouble, trouble, trouble, list(5, ['a']), trouble, trouble], {
      onTrouble: (error) => told.push(error),
    })
    await watch.until(1)
    while (watch.requests.length < 7 || told.length < 5)
      await new Promise((resolve) => setTimeout(resolve, 5))
    expect(told).toHaveLength(5)
  })

  it('opens a silent stream anew, without calling that trouble', async () => {
    const told: unknown[] = []
    const silent: Answer = (response) => void response.writeHead(200).flushHeaders()
    const watch = await script([list(5, []), silent, silent, events([['ADDED', object('a', 6)]])], {
      inactivity: 50,
      onTrouble: (error) => told.push(error),
    })
    expect(await watch.until(2)).toEqual(['replace', 'changed a@6'])
    expect(told).toEqual([])
  })

  it('does not take a slow handler for silence, nor calls two at once', async () => {
    let running = 0
    let most = 0
    let done = 0
    const watch = await script(
      [
        list(5, []),
        events(
          [
            ['ADDED', object('a', 6)],
            ['ADDED', object('b', 7)],
          ],
          false,
        ),
      ],
      { inactivity: 40 },
      {
        async changed() {
          running += 1
          most = Math.max(most, running)
          await new Promise((resolve) => setTimeout(resolve, 80))
          running -= 1
          done += 1
        },
      },
    )
    while (done < 2) await new Promise((resolve) => setTimeout(resolve, 5))
    expect(most).toBe(1)
    expect(watch.requests.length).toBe(2)
  })

  it('throws what a handler throws', async () => {
    const watch = await script(
      [list(5, ['a'])],
      {},
      {
        replace() {
          throw new Error('mine')
        },
      },
    )
    await expect(watch.done).rejects.toThrow('mine')
  })

  it('ends with the reason of the signal', async () => {
    const watch = await script([list(5, [])])
    await watch.until(1)
    watch.stop.abort(new Error('enough'))
    await expect(watch.done).rejects.toThrow('enough')
  })

  it('does not hammer a server that ends every watch at once', async () => {
    const watch = await script(
      [list(5, []), ...Array.from({ length: 500 }, () => events([['BOOKMARK', object('', 5)]]))],
      { minDelay: 20, maxDelay: 1000 },
    )
    await watch.until(1)
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(watch.requests.length).toBeLessThan(12)
    expect(watch.sockets.size).toBeLessThan(3)
  })
})
