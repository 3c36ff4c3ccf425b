import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Fault, Faults } from '../faults.ts'
import { type Clock, type Limits, OPERATIONS, type Operation } from '../options.ts'
import { ApiError, internal, throttled, unknownOperation, validation } from './errors.ts'
import type { Service } from './operations.ts'
import { createRateLimit, type RateLimit } from './rates.ts'

export interface ServerOptions {
  readonly host: string
  readonly port: number
  readonly limits: Limits
  readonly clock: Clock
  readonly faults: Faults
  readonly service: Service
}

export interface DataApiServer {
  readonly url: string
  /** Requests since the start, by operation, those that were refused included. */
  requests(): Readonly<Record<Operation, number>>
  close(): Promise<void>
}

const MAX_BODY_BYTES = 16 * 1024 * 1024
const TARGET = 'RedshiftData.'

/** Serves the Data API's protocol (AWS JSON 1.1) and the emulator's control endpoint. */
export async function startServer(options: ServerOptions): Promise<DataApiServer> {
  const counts = Object.fromEntries(OPERATIONS.map((name) => [name, 0])) as Record<Operation, number>
  const rates = Object.fromEntries(
    OPERATIONS.map((name) => [name, createRateLimit(options.limits.rates[name], options.clock)]),
  ) as Record<Operation, RateLimit>
  const server = createServer((request, response) => {
    const answer = request.url?.startsWith('/_emulator/')
      ? control(request, response, options.faults, counts)
      : serve(request, response, options, counts, rates)
    answer.catch((error) => {
      console.error('emulator:', error)
      response.destroy()
    })
  })
  // The SDK keeps connections; one that is closed between two requests looks like a lost answer.
  server.keepAliveTimeout = 120_000
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port, options.host, resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://${options.host}:${port}`,
    requests: () => ({ ...counts }),
    close: () => closeServer(server),
  }
}

async function closeServer(server: Server) {
  const closed = new Promise((resolve) => server.close(resolve))
  server.closeAllConnections()
  await closed
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  { service, faults }: ServerOptions,
  counts: Record<Operation, number>,
  rates: Record<Operation, RateLimit>,
) {
  const body = await readBody(request)
  try {
    const operation = operationOf(request)
    counts[operation]++
    const identity = identityOf(request)
    const early = faults.next(['drop-request', 'throttle', 'internal-error'], operation)
    if (early?.kind === 'drop-request') {
      request.socket.destroy()
      return
    }
    if (early?.kind === 'throttle' || !rates[operation].take()) throw throttled()
    if (early?.kind === 'internal-error') throw internal()
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    const answer = await service.handlers[operation](parseBody(body), { identity, signal: gone.signal })
    if (faults.next(['lose-response'], operation)) {
      if (operation === 'ExecuteStatement' || operation === 'BatchExecuteStatement')
        await service.settle(answer)
      request.socket.destroy()
      return
    }
    send(response, 200, answer)
  } catch (error) {
    sendError(response, error)
  }
}

function operationOf(request: IncomingMessage): Operation {
  const target = String(request.headers['x-amz-target'] ?? '')
  const name = target.startsWith(TARGET) ? target.slice(TARGET.length) : ''
  const operation = OPERATIONS.find((each) => each === name)
  if (request.method !== 'POST' || !operation) throw unknownOperation()
  return operation
}

/** Whoever signs with one key sees the statements made with it. */
function identityOf(request: IncomingMessage): string {
  const credential = /Credential=([^/,]+)\//.exec(String(request.headers.authorization ?? ''))?.[1]
  if (credential === undefined) {
    throw new ApiError('MissingAuthenticationTokenException', 403, 'Missing Authentication Token')
  }
  return credential
}

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of request) {
    bytes += (part as Buffer).length
    if (bytes > MAX_BODY_BYTES) {
      request.socket.destroy()
      throw new Error('the body of a request is too large')
    }
    parts.push(part as Buffer)
  }
  return Buffer.concat(parts).toString('utf8')
}

function parseBody(text: string): Record<string, unknown> {
  let parsed: unknown
  try {
    parsed = JSON.parse(text === '' ? '{}' : text)
  } catch {
    parsed = undefined
  }
  if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed))
    return parsed as Record<string, unknown>
  throw new ApiError('SerializationException', 400, 'The request is not a JSON object')
}

function send(
  response: ServerResponse,
  status: number,
  answer: object,
  headers: Record<string, string> = {},
) {
  const text = JSON.stringify(answer)
  response.writeHead(status, {
    'content-type': 'application/x-amz-json-1.1',
    'content-length': Buffer.byteLength(text),
    'x-amzn-requestid': randomUUID(),
    ...headers,
  })
  response.end(text)
}

function sendError(response: ServerResponse, thrown: unknown) {
  if (!(thrown instanceof ApiError)) console.error('emulator:', thrown)
  const error = thrown instanceof ApiError ? thrown : internal(String(thrown))
  const body = { __type: error.type, Message: error.message, message: error.message, ...error.fields }
  send(response, error.status, body, { 'x-amzn-errortype': error.type })
}

/** `GET`, `PUT` and `DELETE /_emulator/faults`, `GET /_emulator/requests`. */
async function control(request: IncomingMessage, response: ServerResponse, faults: Faults, counts: object) {
  try {
    const text = await readBody(request)
    const route = `${request.method} ${request.url}`
    if (route === 'GET /_emulator/faults') send(response, 200, { faults: faults.list() })
    else if (route === 'PUT /_emulator/faults') {
      const list: unknown = JSON.parse(text)
      if (!Array.isArray(list)) throw new Error('a list of faults is expected')
      faults.set(list as Fault[])
      send(response, 200, { faults: faults.list() })
    } else if (route === 'DELETE /_emulator/faults') {
      faults.set([])
      send(response, 200, {})
    } else if (route === 'GET /_emulator/requests') send(response, 200, counts)
    else throw new ApiError('NotFound', 404, `no such control: ${route}`)
  } catch (error) {
    sendError(response, error instanceof ApiError ? error : validation(String(error)))
  }
}
