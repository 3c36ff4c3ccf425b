import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  BatchExecuteStatementCommand,
  CancelStatementCommand,
  DescribeStatementCommand,
  DescribeTableCommand,
  ExecuteStatementCommand,
  GetStatementResultCommand,
  ListSessionsCommand,
  ListStatementsCommand,
  paginateGetStatementResult,
} from '@aws-sdk/client-redshift-data'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { finish, lockTable, openWarehouse, plain, TARGET, useS3, type Warehouse } from './emulator-setup.ts'
import { tempDir } from './services.ts'

useS3()
let house: Warehouse
let now = Date.now()
let log = ''
const hours = (count: number) => {
  now += count * 3_600_000
}

beforeAll(async () => {
  log = join(tempDir(), 'statements.jsonl')
  house = await openWarehouse('emulator_api', {
    clock: { now: () => now },
    statementLog: log,
    targets: ['c1', 'wg'],
    limits: { pageBytes: 4000, activeStatements: 5, sessions: 3, waitingRequests: 2 },
  })
})
afterAll(() => house.close())

const submit = async (sql: string, more: object = {}) => {
  const { Id } = await house.client.send(new ExecuteStatementCommand({ ...TARGET, Sql: sql, ...more }))
  return Id as string
}

/** Keeps statements running: they wait for a table that another session holds. */
async function block(table: string) {
  await house.run(`create table ${table} (a int)`)
  return { sql: `select * from ${table}`, ...(await lockTable(house.client, table)) }
}

describe('one statement', () => {
  it('runs, tells about itself and gives its result', async () => {
    const answer = await house.client.send(
      new ExecuteStatementCommand({ ...TARGET, Sql: "select 1 as a, 'x' as b", StatementName: 'one' }),
    )
    expect(answer).toMatchObject({
      ClusterIdentifier: 'c1',
      Database: 'dev',
      DbUser: 'awsuser',
      CreatedAt: new Date(now),
    })
    expect(answer.Status).toBeUndefined()
    const described = await finish(house.client, answer.Id as string)
    expect(described).toMatchObject({
      Id: answer.Id,
      Status: 'FINISHED',
      HasResultSet: true,
      ResultRows: 1,
      ResultFormat: 'JSON',
      QueryString: "select 1 as a, 'x' as b",
    })
    expect(described.RedshiftPid).toBeGreaterThan(0)
    const result = await house.client.send(new GetStatementResultCommand({ Id: answer.Id }))
    expect(result).toMatchObject({
      TotalNumRows: 1,
      Records: [[{ longValue: 1 }, { stringValue: 'x' }]],
      ColumnMetadata: [
        { name: 'a', label: 'a', typeName: 'int4', isSigned: true },
        { name: 'b', typeName: 'varchar', isCaseSensitive: true },
      ],
    })
    expect(result.NextToken).toBeUndefined()
  })

  it('fails with the error of Redshift', async () => {
    const described = await house.run('select * from nosuch')
    expect(described).toMatchObject({
      Status: 'FAILED',
      Error: 'ERROR: relation "nosuch" does not exist',
      HasResultSet: false,
    })
    await expect(
      house.client.send(new GetStatementResultCommand({ Id: described.Id })),
    ).rejects.toMatchObject({
      name: 'ResourceNotFoundException',
      message: 'Query does not have result. Please check query status with DescribeStatement.',
    })
  })

  it('gives every type as the Data API does', async () => {
    await house.run(`create table every (a smallint, b bigint, c real, d double precision, e numeric(20,3), f boolean,
      g char(3), h varchar(9) not null, i date, j time, k timetz, l timestamp, m timestamptz, n super, o varbyte(4))`)
    await house.run(`insert into every values (1, 9007199254740993, 1.5, 'NaN', -1.5, true, 'a', 'b ', '2020-01-02', '01:02:03',
      '01:02:03+02', '2020-01-02 03:04:05.6', '2020-01-02 03:04:05+01', json_parse('{"x": [1, "y z"]}'), from_hex('00ff'))`)
    const { Id } = await house.run('select * from every')
    const { Records, ColumnMetadata } = await house.client.send(new GetStatementResultCommand({ Id }))
    expect(ColumnMetadata?.map(({ typeName }) => typeName)).toEqual(
      'int2 int8 float4 float8 numeric bool bpchar varchar date time timetz timestamp timestamptz super varbyte'.split(
        ' ',
      ),
    )
    expect(ColumnMetadata?.[4]).toMatchObject({
      precision: 20,
      scale: 3,
      tableName: 'every',
      schemaName: 'public',
    })
    expect(ColumnMetadata?.[7]).toMatchObject({ length: 9, nullable: 0 })
    const values = Records?.[0]?.map(plain) ?? []
    expect(values[3]).toBeNaN()
    expect([...values.slice(0, 1), ...values.slice(2, 3), ...values.slice(4)]).toEqual([
      1,
      1.5,
      '-1.500',
      true,
      'a  ',
      'b ',
      '2020-01-02',
      '01:02:03',
      '23:02:03+00',
      '2020-01-02 03:04:05.6',
      '2020-01-02 02:04:05+00',
      '{"x":[1,"y z"]}',
      '00ff',
    ])
  })

  it('sends whole numbers exactly, whatever the client makes of them', async () => {
    const id = await submit('select 9007199254740993')
    await finish(house.client, id)
    const response = await fetch(house.emulator.url, {
      method: 'POST',
      headers: {
        'x-amz-target': 'RedshiftData.GetStatementResult',
        authorization: 'AWS4-HMAC-SHA256 Credential=someone/x',
      },
      body: JSON.stringify({ Id: id }),
    })
    expect(await response.text()).toContain('{"longValue":9007199254740993}')
  })

  it('counts the rows it changes', async () => {
    await house.run('create table counted (a int)')
    expect((await house.run('insert into counted values (1), (2), (3)')).ResultRows).toBe(3)
    expect((await house.run('update counted set a = 5 where a < 3')).ResultRows).toBe(2)
    expect((await house.run('delete from counted')).ResultRows).toBe(3)
    expect((await house.run('truncate counted')).ResultRows).toBe(-1)
  })

  it('pages its result', async () => {
    await house.run('create table long (a int, b varchar(100))')
    await house.run(
      `insert into long values ${Array.from({ length: 200 }, (_, n) => `(${n}, '${'x'.repeat(60)}')`).join(', ')}`,
    )
    const { Id } = await house.run('select * from long order by a')
    const sizes: number[] = []
    const seen: unknown[] = []
    for await (const page of paginateGetStatementResult({ client: house.client }, { Id })) {
      expect(page.TotalNumRows).toBe(200)
      sizes.push(page.Records?.length ?? 0)
      seen.push(...(page.Records ?? []).map(([a]) => a?.longValue))
    }
    expect(sizes.length).toBeGreaterThan(3)
    expect(seen).toEqual(Array.from({ length: 200 }, (_, n) => n))
    await expect(
      house.client.send(new GetStatementResultCommand({ Id, NextToken: 'nonsense' })),
    ).rejects.toMatchObject({ name: 'ValidationException' })
  })

  it('takes parameters by name', async () => {
    const Parameters = [
      { name: 'n', value: '7' },
      { name: 't', value: "o'x \\n" },
    ]
    const id = await submit('select :n::int + 1, :t, :t || :n', { Parameters })
    expect((await finish(house.client, id)).QueryParameters).toEqual(Parameters)
    const { Records } = await house.client.send(new GetStatementResultCommand({ Id: id }))
    expect(Records?.[0]?.map(plain)).toEqual([8, "o'x \\n", "o'x \\n7"])
    await expect(submit('select :a', { Parameters: [{ name: 'b', value: '1' }] })).rejects.toThrow(
      'Unused parameters: [b]',
    )
    await expect(submit('select :a, :b', { Parameters: [{ name: 'b', value: '1' }] })).rejects.toThrow(
      'Undefined parameters list: [a]',
    )
    expect(await house.error('select :a')).toContain('syntax error at or near ":"')
  })

  it('can be waited for', async () => {
    const answer = await house.client.send(
      new ExecuteStatementCommand({ ...TARGET, Sql: 'select 1', WaitTimeSeconds: 20 }),
    )
    expect(answer).toMatchObject({ Status: 'FINISHED', HasResultSet: true })
    const blocked = await block('waited')
    const slow = await house.client.send(
      new ExecuteStatementCommand({ ...TARGET, Sql: blocked.sql, WaitTimeSeconds: 1 }),
    )
    expect(slow.Status).toBe('STARTED')
    const Id = slow.Id as string
    const waiting = [0, 1].map(() =>
      house.client.send(new DescribeStatementCommand({ Id, WaitTimeSeconds: 30 })),
    )
    await expect(
      Promise.any(
        [0, 1, 2].map(() =>
          house.client.send(new DescribeStatementCommand({ Id, WaitTimeSeconds: 1 })).then(
            () => Promise.reject(new Error('waited')),
            (error) => error.name,
          ),
        ),
      ),
    ).resolves.toBe('ActiveWaitingRequestsExceededException')
    await blocked.release()
    expect((await Promise.all(waiting)).map(({ Status }) => Status)).toEqual(['FINISHED', 'FINISHED'])
  })
})

describe('a batch', () => {
  it('is one transaction, with a part for each statement', async () => {
    const described = await house.run(
      'create table batched (a int)',
      'insert into batched values (1), (2)',
      'select * from batched',
    )
    expect(described).toMatchObject({ Status: 'FINISHED', HasResultSet: true, ExecutionMode: 'TRANSACTION' })
    expect(described.QueryString).toBeUndefined()
    expect(
      described.SubStatements?.map(({ Id, Status, ResultRows, HasResultSet }) => [
        Id,
        Status,
        ResultRows,
        HasResultSet,
      ]),
    ).toEqual([
      [`${described.Id}:1`, 'FINISHED', -1, false],
      [`${described.Id}:2`, 'FINISHED', 2, false],
      [`${described.Id}:3`, 'FINISHED', 2, true],
    ])
    await expect(house.client.send(new GetStatementResultCommand({ Id: described.Id }))).rejects.toThrow(
      'BatchExecuteStatement result can only be retrieved with sub-statement id.',
    )
    const third = await house.client.send(new GetStatementResultCommand({ Id: `${described.Id}:3` }))
    expect(third.Records).toHaveLength(2)
    const second = await house.client.send(new DescribeStatementCommand({ Id: `${described.Id}:2` }))
    expect(second).toMatchObject({
      Id: `${described.Id}:2`,
      QueryString: 'insert into batched values (1), (2)',
      ResultRows: 2,
    })
    await expect(
      house.client.send(new DescribeStatementCommand({ Id: `${described.Id}:4` })),
    ).rejects.toMatchObject({
      name: 'ResourceNotFoundException',
    })
  })

  it('leaves nothing behind when one statement fails', async () => {
    const described = await house.run(
      'create table halfway (a int)',
      'insert into halfway values (1)',
      'select 1/0',
      'select 2',
    )
    expect(described).toMatchObject({
      Status: 'FAILED',
      Error: 'Query #3 failed with ERROR: division by zero',
    })
    expect(described.SubStatements?.map(({ Status }) => Status)).toEqual([
      'FINISHED',
      'FINISHED',
      'FAILED',
      'ABORTED',
    ])
    expect(await house.error('select * from halfway')).toContain('does not exist')
  })

  it('in AUTO_COMMIT commits each statement', async () => {
    await house.run('create table single (a int)')
    const { Id } = await house.client.send(
      new BatchExecuteStatementCommand({
        ...TARGET,
        Sqls: ['insert into single values (1)', 'select 1/0', 'insert into single values (2)'],
        ExecutionMode: 'AUTO_COMMIT',
      }),
    )
    const described = await finish(house.client, Id as string)
    expect(described.SubStatements?.map(({ Status }) => Status)).toEqual(['FINISHED', 'FAILED', 'FINISHED'])
    expect(await house.rows('select a from single order by a')).toEqual([[1], [2]])
  })

  it('shares parameters', async () => {
    await house.run('create table shared (a int, b varchar(9))')
    const { Id } = await house.client.send(
      new BatchExecuteStatementCommand({
        ...TARGET,
        Sqls: ['insert into shared values (:a, :b)', 'update shared set b = :c where a = :a'],
        Parameters: ['a', 'b', 'c'].map((name, index) => ({ name, value: String(index) })),
      }),
    )
    expect((await finish(house.client, Id as string)).Status).toBe('FINISHED')
    expect(await house.rows('select * from shared')).toEqual([[0, '2']])
  })

  it('takes no transaction control', async () => {
    expect(await house.error('select 1', 'commit')).toContain(
      'does not know BEGIN, COMMIT and ROLLBACK in a batch',
    )
  })
})

describe('ClientToken', () => {
  it('makes a repeated request the same statement for eight hours', async () => {
    await house.run('create table tokens (a int)')
    const send = (sql: string) =>
      house.client.send(new ExecuteStatementCommand({ ...TARGET, Sql: sql, ClientToken: 'token-1' }))
    const { Id } = await send('insert into tokens values (1)')
    await finish(house.client, Id as string)
    expect((await send('insert into tokens values (1)')).Id).toBe(Id)
    await expect(send('insert into tokens values (2)')).rejects.toMatchObject({ name: 'ValidationException' })
    expect(await house.rows('select * from tokens')).toEqual([[1]])
    hours(8)
    const again = await send('insert into tokens values (1)')
    expect(again.Id).not.toBe(Id)
    await finish(house.client, again.Id as string)
    expect(await house.rows('select * from tokens')).toEqual([[1], [1]])
  })

  it('belongs to whoever used it', async () => {
    const other = house.newClient('another')
    const request = { ...TARGET, Sql: 'select 1', ClientToken: 'token-2' }
    const [mine, theirs] = [
      await house.client.send(new ExecuteStatementCommand(request)),
      await other.send(new ExecuteStatementCommand(request)),
    ]
    expect(mine.Id).not.toBe(theirs.Id)
  })
})

describe('sessions', () => {
  it('keep temporary tables, settings and transactions', async () => {
    const first = await house.client.send(
      new ExecuteStatementCommand({
        ...TARGET,
        Sql: 'create temp table mine (a int)',
        SessionKeepAliveSeconds: 60,
      }),
    )
    const { SessionId } = first
    await finish(house.client, first.Id as string)
    const run = async (sql: string) =>
      finish(
        house.client,
        (await house.client.send(new ExecuteStatementCommand({ SessionId, Sql: sql }))).Id as string,
      )
    expect((await run('insert into mine values (1)')).Status).toBe('FINISHED')
    expect((await run('begin')).Status).toBe('FINISHED')
    await run('insert into mine values (2)')
    await run('rollback')
    expect((await run('select * from mine')).ResultRows).toBe(1)
    expect(await house.error('select * from mine')).toContain('does not exist')
    const { Sessions } = await house.client.send(new ListSessionsCommand({ SessionId }))
    expect(Sessions).toMatchObject([{ SessionId, Status: 'AVAILABLE', SessionAliveSeconds: 60 }])
    now += 61_000
    await expect(run('select 1')).rejects.toThrow('Session is not available')
    expect((await house.client.send(new ListSessionsCommand({ SessionId }))).Sessions).toMatchObject([
      { Status: 'CLOSED' },
    ])
    await expect(
      house.client.send(
        new ExecuteStatementCommand({ SessionId: '00000000-0000-0000-0000-000000000000', Sql: 'select 1' }),
      ),
    ).rejects.toThrow('is invalid')
  })

  it('run one statement at a time, and there are not endlessly many', async () => {
    const blocked = await block('busy')
    const { SessionId, Id } = await house.client.send(
      new ExecuteStatementCommand({ ...TARGET, Sql: blocked.sql, SessionKeepAliveSeconds: 60 }),
    )
    await expect(
      house.client.send(new ExecuteStatementCommand({ SessionId, Sql: 'select 1' })),
    ).rejects.toThrow('busy')
    await submit('select 1', { SessionKeepAliveSeconds: 60 })
    await expect(submit('select 1', { SessionKeepAliveSeconds: 60 })).rejects.toMatchObject({
      name: 'ActiveSessionsExceededException',
    })
    await blocked.release()
    await finish(house.client, Id as string)
    hours(1)
    await house.emulator.expire()
  })

  it('say that a transaction has failed until it is ended', async () => {
    const first = await house.client.send(
      new ExecuteStatementCommand({ ...TARGET, Sql: 'begin', SessionKeepAliveSeconds: 60 }),
    )
    const { SessionId } = first
    await finish(house.client, first.Id as string)
    const run = async (sql: string) =>
      finish(
        house.client,
        (await house.client.send(new ExecuteStatementCommand({ SessionId, Sql: sql }))).Id as string,
      )
    expect((await run('select nosuch(1)')).Status).toBe('FAILED')
    expect((await run('select 1')).Error).toContain('current transaction is aborted')
    expect((await run('commit')).Status).toBe('FINISHED')
    expect((await run('select 1')).Status).toBe('FINISHED')
    hours(1)
    await house.emulator.expire()
  })
})

describe('cancelling', () => {
  it('aborts what runs', async () => {
    const blocked = await block('cancelled')
    const id = await submit(blocked.sql)
    await expect
      .poll(async () => (await house.client.send(new DescribeStatementCommand({ Id: id }))).Status)
      .toBe('STARTED')
    expect((await house.client.send(new CancelStatementCommand({ Id: id }))).Status).toBe(true)
    expect((await finish(house.client, id)).Status).toBe('ABORTED')
    await expect(house.client.send(new CancelStatementCommand({ Id: id }))).rejects.toThrow(
      `Could not cancel a query that is already in ABORTED state with ID: ${id}`,
    )
    await blocked.release()
  })

  it('aborts a whole batch', async () => {
    const blocked = await block('cancelled_batch')
    const { Id } = await house.client.send(
      new BatchExecuteStatementCommand({
        ...TARGET,
        Sqls: ['create table never (a int)', blocked.sql, 'select 1'],
      }),
    )
    await expect
      .poll(
        async () =>
          (await house.client.send(new DescribeStatementCommand({ Id }))).SubStatements?.[1]?.Status,
      )
      .toBe('STARTED')
    await house.client.send(new CancelStatementCommand({ Id }))
    const described = await finish(house.client, Id as string)
    expect(described.Status).toBe('ABORTED')
    expect(described.SubStatements?.map(({ Status }) => Status)).toEqual(['FINISHED', 'ABORTED', 'ABORTED'])
    await blocked.release()
    expect(await house.error('select * from never')).toContain('does not exist')
  })
})

describe('lists', () => {
  it('statements by name, status and page', async () => {
    for (const name of ['list-a', 'list-b', 'list-c'])
      await finish(house.client, await submit('select 1', { StatementName: name }))
    await finish(house.client, await submit('select 1/0', { StatementName: 'list-d' }))
    const list = async (query: object) =>
      (await house.client.send(new ListStatementsCommand(query))).Statements?.map(
        ({ StatementName }) => StatementName,
      )
    expect(await list({ StatementName: 'list-' })).toEqual(['list-c', 'list-b', 'list-a'])
    expect(await list({ StatementName: 'list-', Status: 'ALL' })).toEqual([
      'list-d',
      'list-c',
      'list-b',
      'list-a',
    ])
    expect(await list({ StatementName: 'list-', Status: 'FAILED' })).toEqual(['list-d'])
    const first = await house.client.send(
      new ListStatementsCommand({ StatementName: 'list-', MaxResults: 2 }),
    )
    expect(first.Statements).toHaveLength(2)
    const second = await house.client.send(
      new ListStatementsCommand({ StatementName: 'list-', MaxResults: 2, NextToken: first.NextToken }),
    )
    expect(second.Statements?.map(({ StatementName }) => StatementName)).toEqual(['list-a'])
    expect(second.NextToken).toBeUndefined()
  })

  it('shows a batch with all of its statements', async () => {
    const { Id } = await house.run('select 1', 'select 2')
    const { Statements } = await house.client.send(new ListStatementsCommand({ MaxResults: 1 }))
    expect(Statements).toMatchObject([{ Id, IsBatchStatement: true, QueryStrings: ['select 1', 'select 2'] }])
  })
})

describe('limits and refusals', () => {
  it('statements are forgotten after a day, and strangers do not see them', async () => {
    const id = await submit('select 1')
    await finish(house.client, id)
    await expect(
      house.newClient('stranger').send(new DescribeStatementCommand({ Id: id })),
    ).rejects.toMatchObject({
      name: 'ResourceNotFoundException',
      ResourceId: `query-id:${id}`,
    })
    hours(24)
    await expect(house.client.send(new DescribeStatementCommand({ Id: id }))).rejects.toThrow(
      'Query does not exist.',
    )
  })

  it('so many active statements and no more', async () => {
    const blocked = await block('crowded')
    const ids = []
    for (let count = 0; count < 5; count++) ids.push(await submit(blocked.sql))
    await expect(submit('select 1')).rejects.toMatchObject({
      name: 'ActiveStatementsExceededException',
      message: 'Active statements exceeded the allowed quota (5).',
    })
    await house.client.send(new CancelStatementCommand({ Id: ids[0] }))
    await finish(house.client, ids[0] as string)
    await blocked.release()
    for (const id of ids) await finish(house.client, id)
  })

  it.each([
    [
      'an unknown cluster',
      { ClusterIdentifier: 'nosuch' },
      "Redshift endpoint doesn't exist in this region.",
    ],
    ['a cluster and a workgroup', { WorkgroupName: 'wg' }, 'Exactly one of'],
    ['too long a statement', { Sql: `select '${'x'.repeat(100_001)}'` }, 'Query string is too large'],
  ])('%s', async (_, more, message) => {
    const refused = submit('select 1', more)
    await expect(refused).rejects.toMatchObject({ name: 'ValidationException' })
    await expect(refused).rejects.toThrow(message)
  })

  it('an unknown database, when the statement runs', async () => {
    const id = await submit('select 1', { Database: 'nosuch' })
    expect(await finish(house.client, id)).toMatchObject({
      Status: 'FAILED',
      Error: 'ERROR: database "nosuch" does not exist',
    })
  })

  it('ids of the wrong form, and operations it does not have', async () => {
    await expect(house.client.send(new DescribeStatementCommand({ Id: 'nonsense' }))).rejects.toMatchObject({
      name: 'ValidationException',
    })
    await expect(
      house.client.send(new DescribeTableCommand({ Database: 'dev', ClusterIdentifier: 'c1' })),
    ).rejects.toMatchObject({ name: 'UnknownOperationException' })
  })

  it('requests without a signature', async () => {
    const response = await fetch(house.emulator.url, {
      method: 'POST',
      headers: { 'x-amz-target': 'RedshiftData.ListStatements' },
      body: '{}',
    })
    expect(response.status).toBe(403)
    expect(await response.json()).toMatchObject({ __type: 'MissingAuthenticationTokenException' })
  })

  it('a workgroup, and the user that the identity stands for', async () => {
    const { Id } = await house.client.send(
      new ExecuteStatementCommand({
        WorkgroupName: 'wg',
        Database: 'dev',
        Sql: 'select current_user, current_database()',
      }),
    )
    const described = await finish(house.client, Id as string)
    expect(described).toMatchObject({ WorkgroupName: 'wg', DbUser: 'IAM:awsuser' })
    expect(described.ClusterIdentifier).toBeUndefined()
    const { Records } = await house.client.send(new GetStatementResultCommand({ Id }))
    expect(Records?.[0]?.map(plain)).toEqual(['IAM:awsuser', 'dev'])
  })
})

it('keeps a log of every statement', async () => {
  await house.run("select 'logged alone'")
  await house.run("select 'logged first'", "select 'logged second'")
  const lines = readFileSync(log, 'utf8')
    .trim()
    .split('\n')
    .map((line): { sql: string; batch?: string } => JSON.parse(line))
    .filter(({ sql }) => sql.startsWith("select 'logged"))
  expect(lines[0]).toEqual({ sql: "select 'logged alone'" })
  expect(lines[1]).toEqual({ sql: "select 'logged first'", batch: expect.any(String) })
  expect(lines[2]).toEqual({ sql: "select 'logged second'", batch: lines[1]?.batch })
  expect(lines).toHaveLength(3)
})

it('throttles by the rates of the account', async () => {
  const slow = await openWarehouse('emulator_rates', {
    limits: {
      rates: {
        ExecuteStatement: 30,
        BatchExecuteStatement: 20,
        DescribeStatement: 100,
        GetStatementResult: 20,
        CancelStatement: 3,
        ListStatements: 3,
        ListSessions: 3,
      },
    },
    clock: { now: () => 0 },
  })
  const lists = await Promise.allSettled(
    Array.from({ length: 5 }, () => slow.client.send(new ListStatementsCommand())),
  )
  const refused = lists.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
  expect(refused).toHaveLength(2)
  expect(refused[0]).toMatchObject({
    name: 'ThrottlingException',
    message: 'Rate exceeded',
    $metadata: { httpStatusCode: 400 },
  })
  // The SDK's own classification, which decides what it retries.
  expect(refused[0].$retryable ?? { throttling: true }).toMatchObject({ throttling: true })
  expect(slow.emulator.requests().ListStatements).toBe(5)
  await slow.close()
})
