import { describe, expect, it, vi } from 'vitest'
import type { DataApiCalls } from './aws.ts'
import { createDataApi, derivedToken, OutcomeUnknown } from './data-api.ts'

type Answer = object | Error

const never = new AbortController().signal
const named = (name: string, httpStatusCode?: number) =>
  Object.assign(new Error(name), { name, $metadata: httpStatusCode ? { httpStatusCode } : {} })

/** A Data API that gives these answers, in turn, to each operation. */
function scripted(answers: Partial<Record<keyof DataApiCalls, Answer[]>>) {
  const inputs: { operation: string; input: Record<string, unknown> }[] = []
  const answer =
    (operation: 'execute' | 'batch' | 'describe' | 'result' | 'cancel') =>
    async (input: unknown, signal: AbortSignal) => {
      inputs.push({ operation, input: input as Record<string, unknown> })
      const next = answers[operation]?.shift()
      if (next === undefined) {
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      }
      if (next instanceof Error) throw next
      return next as never
    }
  const calls: DataApiCalls = {
    execute: answer('execute'),
    batch: answer('batch'),
    describe: answer('describe'),
    result: answer('result'),
    cancel: answer('cancel'),
    close: vi.fn(),
  }
  const api = createDataApi({
    destination: { clusterIdentifier: 'c', database: 'd', dbUser: 'u' },
    open: async () => calls,
    concurrency: 4,
  })
  return { api, inputs, of: (operation: string) => inputs.filter((each) => each.operation === operation) }
}

const request = { statements: ['SELECT 1', 'SELECT 2'], token: 'token', name: 'test' }
const finished = { Id: 'i', Status: 'FINISHED' }

describe('a statement', () => {
  it('that ends while it is waited for needs one call', async () => {
    const { api, inputs } = scripted({ batch: [finished] })
    await api.execute(request, never)
    expect(inputs).toEqual([
      {
        operation: 'batch',
        input: expect.objectContaining({
          Sqls: ['SELECT 1', 'SELECT 2'],
          ClientToken: 'token',
          WaitTimeSeconds: 30,
          ClusterIdentifier: 'c',
          Database: 'd',
          DbUser: 'u',
        }),
      },
    ])
  })

  it('is submitted again under the same token when no answer comes', async () => {
    const { api, of } = scripted({
      batch: [named('TimeoutError'), named('InternalServerException', 500), finished],
    })
    await api.execute(request, never)
    expect(of('batch').map(({ input }) => input.ClientToken)).toEqual(['token', 'token', 'token'])
  })

  it('is not given up for polls that are lost', async () => {
    const { api, of } = scripted({
      batch: [{ Id: 'i', Status: 'STARTED' }],
      describe: [
        named('TimeoutError'),
        named('ThrottlingException', 400),
        named('InternalServerException', 500),
        { Id: 'i', Status: 'STARTED' },
        finished,
      ],
    })
    await api.execute(request, never)
    expect(of('describe')).toHaveLength(5)
    expect(of('batch')).toHaveLength(1)
  })

  it.each(['ThrottlingException', 'ActiveStatementsExceededException'])(
    'that is put off by %s for more than a minute says so, and is not lost by it once it is at work',
    async (name) => {
      vi.useFakeTimers()
      try {
        const slowed = Array.from({ length: 100 }, () => named(name, 400))
        const refused = scripted({ batch: [...slowed] })
        const told = expect(refused.api.execute(request, never)).rejects.toMatchObject({
          code: 'Throttled',
          retryable: true,
          message: expect.stringContaining(name),
        })
        await vi.advanceTimersByTimeAsync(59_000)
        expect(refused.of('batch').length).toBeLessThan(50)
        await vi.advanceTimersByTimeAsync(60_000)
        await told
        const atWork = scripted({
          batch: [{ Id: 'i', Status: 'STARTED' }],
          describe: [...slowed.slice(0, 15), finished],
        })
        const done = atWork.api.execute(request, never)
        await vi.advanceTimersByTimeAsync(1_200_000)
        await done
        expect(atWork.of('describe')).toHaveLength(16)
      } finally {
        vi.useRealTimers()
      }
    },
  )

  it('asks without waiting when too many wait', async () => {
    const { api, of } = scripted({
      batch: [{ Id: 'i', Status: 'STARTED' }],
      describe: [named('ActiveWaitingRequestsExceededException', 400), finished],
    })
    await api.execute(request, never)
    expect(of('describe').map(({ input }) => input.WaitTimeSeconds)).toEqual([30, undefined])
  })

  it('that failed says which one, and gets another token when it is made again', async () => {
    const failed = {
      Id: 'i',
      Status: 'FAILED',
      Error: 'whole',
      CreatedAt: new Date(),
      SubStatements: [
        { Status: 'FINISHED' },
        { Status: 'FAILED', Error: 'division by zero', RedshiftQueryId: 77 },
      ],
    }
    const { api, of } = scripted({ batch: [{ Id: 'i', Status: 'FAILED' }, finished], describe: [failed] })
    await expect(api.execute(request, never)).rejects.toMatchObject({
      index: 1,
      message: 'division by zero',
      queryId: '77',
    })
    await api.execute(request, never)
    const tokens = of('batch').map(({ input }) => input.ClientToken)
    expect(tokens).toEqual(['token', derivedToken('token', 1)])
  })

  it('that ended and never says why is asked about once', async () => {
    const aborted = { Id: 'i', Status: 'ABORTED' }
    const { api, of } = scripted({ execute: [aborted], describe: [aborted, aborted] })
    const query = api.query('SELECT', 'test', AbortSignal.timeout(5_000))
    await expect(query).rejects.toMatchObject({ status: 'ABORTED', message: 'it ended as ABORTED' })
    expect(of('describe')).toHaveLength(1)
  })

  it('whose failure is an old one is asked for anew before that is believed', async () => {
    const old = {
      Id: 'i',
      Status: 'FAILED',
      Error: 'permission denied',
      CreatedAt: new Date(Date.now() - 3_600_000),
    }
    const { api, of } = scripted({ batch: [{ Id: 'i', Status: 'FAILED' }, finished], describe: [old] })
    await api.execute(request, never)
    expect(new Set(of('batch').map(({ input }) => input.ClientToken)).size).toBe(2)
  })

  it('that the Data API has forgotten has an unknown outcome', async () => {
    const { api } = scripted({
      batch: [{ Id: 'i', Status: 'STARTED' }],
      describe: [named('ResourceNotFoundException', 404)],
    })
    await expect(api.execute(request, never)).rejects.toThrow(OutcomeUnknown)
  })

  it('is cancelled when it is aborted', async () => {
    const { api, of } = scripted({ batch: [{ Id: 'i', Status: 'STARTED' }], cancel: [{ Status: true }] })
    const controller = new AbortController()
    const failure = expect(api.execute(request, controller.signal)).rejects.toThrow('stop')
    setTimeout(() => controller.abort(new Error('stop')), 20)
    await failure
    expect(of('cancel')).toEqual([{ operation: 'cancel', input: { Id: 'i' } }])
  })

  it('is refused before it is sent when it is too long', async () => {
    const { api, inputs } = scripted({})
    const long = { ...request, statements: [`SELECT '${'é'.repeat(50_000)}'`] }
    await expect(api.execute(long, never)).rejects.toThrow(/statement of 100009 bytes/)
    const many = { ...request, statements: Array.from({ length: 41 }, () => 'SELECT 1') }
    await expect(api.execute(many, never)).rejects.toThrow(/41 statements/)
    expect(inputs).toEqual([])
  })

  it('that is refused names the field', async () => {
    const { api } = scripted({ batch: [named('AccessDeniedException', 403)] })
    await expect(api.execute(request, never)).rejects.toMatchObject({ code: 'PermissionDenied' })
  })
})

describe('a query', () => {
  it('gives rows as text, page by page', async () => {
    const ColumnMetadata = [{ label: 'a' }, { name: 'b' }]
    const { api } = scripted({
      execute: [finished],
      result: [
        { ColumnMetadata, Records: [[{ longValue: 1 }, { isNull: true }]], NextToken: 'n' },
        { ColumnMetadata, Records: [[{ booleanValue: true }, { stringValue: '' }]] },
      ],
    })
    expect(await api.query('SELECT', 'test', never)).toEqual([
      { a: '1', b: null },
      { a: 'true', b: '' },
    ])
  })

  it('is never answered with an earlier one', async () => {
    const { api, of } = scripted({
      execute: [finished, finished],
      result: [{ Records: [] }, { Records: [] }],
    })
    await api.query('SELECT', 'test', never)
    await api.query('SELECT', 'test', never)
    expect(new Set(of('execute').map(({ input }) => input.ClientToken)).size).toBe(2)
  })
})
