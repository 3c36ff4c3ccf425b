import { describe, expect, it } from 'vitest'
import { DEFAULT_LIMITS } from '../options.ts'
import { createRateLimit } from './rates.ts'
import { readExecute } from './request.ts'
import { createStore } from './store.ts'
import { createClientTokens } from './tokens.ts'

function fakeClock() {
  let now = 1_000_000
  const pass = (ms: number) => {
    now += ms
  }
  return { now: () => now, pass }
}

describe('rates', () => {
  it('lets a second of requests through at once, then as many as time has passed for', () => {
    const clock = fakeClock()
    const limit = createRateLimit(20, clock)
    const take = (count: number) => Array.from({ length: count }, () => limit.take()).filter(Boolean).length
    expect(take(30)).toBe(20)
    clock.pass(100)
    expect(take(30)).toBe(2)
    clock.pass(60_000)
    expect(take(30)).toBe(20)
  })
})

describe('client tokens', () => {
  it('find the statement of the same request for eight hours', () => {
    const clock = fakeClock()
    const tokens = createClientTokens(8, clock)
    tokens.remember('me', 't', { Sql: 'a', ClientToken: 't' }, 'id')
    expect(tokens.find('me', 't', { ClientToken: 't', Sql: 'a' })).toBe('id')
    expect(tokens.find('me', 't', { Sql: 'a', ClientToken: 't', WaitTimeSeconds: 5 })).toBe('id')
    expect(tokens.find('other', 't', { Sql: 'a' })).toBeUndefined()
    expect(() => tokens.find('me', 't', { Sql: 'b', ClientToken: 't' })).toThrow('other parameters')
    clock.pass(8 * 3_600_000)
    expect(tokens.find('me', 't', { Sql: 'b', ClientToken: 't' })).toBeUndefined()
  })
})

describe('requests', () => {
  const target = { ClusterIdentifier: 'c', Database: 'd' }
  const read = (body: object, batch = false) => readExecute({ ...target, ...body }, batch, DEFAULT_LIMITS)

  it('are read', () => {
    expect(read({ Sql: 'select 1', WaitTimeSeconds: 30, ClientToken: 't' })).toMatchObject({
      sqls: ['select 1'],
      waitSeconds: 30,
      clientToken: 't',
      mode: 'TRANSACTION',
      target: { clusterIdentifier: 'c', database: 'd' },
    })
    expect(read({ Sqls: ['a', 'b'], ExecutionMode: 'AUTO_COMMIT' }, true)).toMatchObject({
      sqls: ['a', 'b'],
      mode: 'AUTO_COMMIT',
    })
  })

  it.each<[string, object, boolean, string]>([
    ['no statement', {}, false, "'sql' failed to satisfy constraint: Member must not be null"],
    ['an empty statement', { Sql: ' ' }, false, 'greater than or equal to 1'],
    ['100 KB and a byte', { Sql: 'é'.repeat(50_001) }, false, 'Query string is too large'],
    ['half a surrogate pair', { Sql: "'\ud800'" }, false, 'not valid Unicode'],
    ['no statements', { Sqls: [] }, true, 'greater than or equal to 1'],
    ['41 statements', { Sqls: Array(41).fill('a') }, true, 'less than or equal to 40'],
    [
      'an empty parameter',
      { Sql: ':a', Parameters: [{ name: 'a', value: '' }] },
      false,
      'parameters.1.member.value',
    ],
    ['a parameter NULL', { Sql: ':a', Parameters: [{ name: 'a' }] }, false, 'must not be null'],
    [
      'a parameter twice',
      {
        Sql: ':a',
        Parameters: [
          { name: 'a', value: '1' },
          { name: 'a', value: '2' },
        ],
      },
      false,
      'Duplicate',
    ],
    ['no parameters', { Sql: 'a', Parameters: [] }, false, 'greater than or equal to 1'],
    ['31 seconds', { Sql: 'a', WaitTimeSeconds: 31 }, false, 'less than or equal to 30'],
    ['a long token', { Sql: 'a', ClientToken: 'x'.repeat(65) }, false, 'less than or equal to 64'],
    [
      'a day and a second',
      { Sql: 'a', SessionKeepAliveSeconds: 86_401 },
      false,
      'less than or equal to 86400',
    ],
    ['two targets', { Sql: 'a', WorkgroupName: 'w' }, false, 'Exactly one of'],
    ['two ways to authenticate', { Sql: 'a', DbUser: 'u', SecretArn: 's' }, false, 'exclude each other'],
    ['no database', { Sql: 'a', Database: undefined }, false, 'Database is required'],
    [
      'a session and a cluster',
      { Sql: 'a', SessionId: 'a1b2c3d4-0000-0000-0000-000000000000' },
      false,
      'not allowed with SessionId',
    ],
    ['CSV', { Sql: 'a', ResultFormat: 'CSV' }, false, 'does not know the result format CSV'],
    ['an unknown mode', { Sqls: ['a'], ExecutionMode: 'x' }, true, 'enum value set'],
  ])('refuses %s', (_, body, batch, message) => {
    expect(() => read(body, batch)).toThrow(
      expect.objectContaining({ type: 'ValidationException', message: expect.stringContaining(message) }),
    )
  })
})

describe('the store', () => {
  it('forgets the oldest that have ended when they take too much memory, and none that runs', () => {
    const store = createStore({ ...DEFAULT_LIMITS, keptBytes: 5_000 }, fakeClock())
    const add = () =>
      store.add({
        request: readExecute(
          { Sql: 'x'.repeat(1_000), ClusterIdentifier: 'c', Database: 'd' },
          false,
          DEFAULT_LIMITS,
        ),
        target: {
          clusterIdentifier: 'c',
          workgroupName: undefined,
          database: 'd',
          dbUser: undefined,
          secretArn: undefined,
        },
        user: 'u',
        identity: 'me',
        sessionId: undefined,
      })
    const running = add()
    const ended = Array.from({ length: 40 }, () => {
      const record = add()
      record.finish('FINISHED')
      return record
    })
    expect(store.get(running.id, 'me')).toBe(running)
    expect(store.get(ended.at(-1)?.id ?? '', 'me')).toBe(ended.at(-1))
    expect(() => store.get(ended[0]?.id ?? '', 'me')).toThrow('Query does not exist')
    expect(store.all().length).toBeLessThan(30)
  })
})
