import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import {
  BatchExecuteStatementCommand,
  DescribeStatementCommand,
  ExecuteStatementCommand,
  RedshiftDataClient,
} from '@aws-sdk/client-redshift-data'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Fault } from '../emulator/faults.ts'
import {
  BUCKET,
  finish,
  openWarehouse,
  putObject,
  ROLE,
  s3Server,
  TARGET,
  useS3,
  type Warehouse,
} from './emulator-setup.ts'
import { createDatabase, tempDir } from './services.ts'

useS3()
let house: Warehouse
beforeAll(async () => {
  house = await openWarehouse('emulator_faults')
})
afterAll(() => house.close())

let table = ''
let tables = 0
beforeEach(async () => {
  house.emulator.faults.set([])
  table = `t${++tables}`
  await house.run(`create table ${table} (a int)`)
})
const count = async () => {
  house.emulator.faults.set([])
  return (await house.rows(`select count(*) from ${table}`))[0]?.[0]
}
const insert = (token?: string) =>
  new ExecuteStatementCommand({
    ...TARGET,
    Sql: `insert into ${table} values (1)`,
    ...(token && { ClientToken: token }),
  })

describe('of requests', () => {
  it('throttling, which the client knows how to retry', async () => {
    house.emulator.faults.set([{ kind: 'throttle', times: 2 }])
    await expect(house.client.send(insert())).rejects.toMatchObject({ name: 'ThrottlingException' })
    const patient = house.newClient('someone', 5)
    const { Id, $metadata } = await patient.send(insert())
    expect($metadata.attempts).toBe(2)
    await finish(house.client, Id as string)
    expect(await count()).toBe(1)
  })

  it('an answer that is lost after the statement was carried out', async () => {
    house.emulator.faults.set([
      { kind: 'lose-response', operations: ['ExecuteStatement', 'BatchExecuteStatement'] },
    ])
    await expect(house.client.send(insert('lost-1'))).rejects.toMatchObject({ code: 'ECONNRESET' })
    await expect(
      house.client.send(
        new BatchExecuteStatementCommand({
          ...TARGET,
          Sqls: [`insert into ${table} values (2)`],
          ClientToken: 'lost-2',
        }),
      ),
    ).rejects.toThrow()
    expect(await count()).toBe(2)
    // Asked again with its token, it is the same statement; without, it is another one.
    const { Id } = await house.client.send(insert('lost-1'))
    expect((await finish(house.client, Id as string)).Status).toBe('FINISHED')
    expect(await count()).toBe(2)
    await finish(house.client, (await house.client.send(insert())).Id as string)
    expect(await count()).toBe(3)
  })

  it('a request that never arrives', async () => {
    house.emulator.faults.set([{ kind: 'drop-request', times: 1 }])
    await expect(house.client.send(insert())).rejects.toThrow()
    expect(await count()).toBe(0)
  })

  it('an internal error', async () => {
    house.emulator.faults.set([{ kind: 'internal-error' }])
    await expect(house.client.send(insert())).rejects.toMatchObject({
      name: 'InternalServerException',
      $metadata: { httpStatusCode: 500 },
    })
    expect(await count()).toBe(0)
  })

  it('lost polls, while the statement goes on', async () => {
    house.emulator.faults.set([{ kind: 'lose-response', operations: ['DescribeStatement'], times: 2 }])
    const { Id } = await house.client.send(insert())
    for (let poll = 0; poll < 2; poll++) {
      await expect(house.client.send(new DescribeStatementCommand({ Id }))).rejects.toThrow()
    }
    expect((await finish(house.client, Id as string)).Status).toBe('FINISHED')
  })
})

describe('of statements', () => {
  it('error 1023 at the nth, and nothing is left of it', async () => {
    house.emulator.faults.set([{ kind: 'serialization-error', sql: '^insert', nth: 2 }])
    expect((await house.run(`insert into ${table} values (1)`)).Status).toBe('FINISHED')
    const second = await house.run(`insert into ${table} values (2)`, `insert into ${table} values (3)`)
    expect(second.Status).toBe('FAILED')
    expect(second.Error).toContain('Query #1 failed with ERROR: 1023')
    expect(second.Error).toContain('Serializable isolation violation on table')
    expect((await house.run(`insert into ${table} values (4)`)).Status).toBe('FINISHED')
    expect(await count()).toBe(2)
  })

  it('abortion after the work was done', async () => {
    house.emulator.faults.set([{ kind: 'abort', sql: 'values \\(2\\)' }])
    const described = await house.run(`insert into ${table} values (1)`, `insert into ${table} values (2)`)
    expect(described.Status).toBe('ABORTED')
    expect(described.SubStatements?.map(({ Status }) => Status)).toEqual(['FINISHED', 'ABORTED'])
    expect(await count()).toBe(0)
  })

  it('any other error', async () => {
    house.emulator.faults.set([{ kind: 'fail', message: 'Out of Memory' }])
    expect(await house.error(`insert into ${table} values (1)`)).toBe('ERROR: Out of Memory')
    expect(await count()).toBe(0)
  })

  it('slowness', async () => {
    house.emulator.faults.set([{ kind: 'slow', ms: 300 }])
    const start = performance.now()
    await house.run(`insert into ${table} values (1)`)
    expect(performance.now() - start).toBeGreaterThan(295)
    expect(await count()).toBe(1)
  })

  it('a connection that is cut', async () => {
    house.emulator.faults.set([{ kind: 'disconnect', times: 1 }])
    expect(await house.error(`insert into ${table} values (1)`)).toBe(
      'ERROR: the connection to the database was lost',
    )
    expect((await house.run(`insert into ${table} values (1)`)).Status).toBe('FINISHED')
    expect(await count()).toBe(1)
  })
})

describe('of S3', () => {
  const load = (options = '') =>
    house.run(`copy ${table} from 's3://${BUCKET}/faults/${table}' iam_role '${ROLE}' csv ${options}`)

  it.each<[string, Fault]>([
    ['an error', { kind: 's3-error', key: 'part-2', status: 503, times: 1 }],
    ['an object that breaks off', { kind: 's3-cut', key: 'part-2', bytes: 100, times: 1 }],
  ])('%s', async (_, fault) => {
    await putObject(`faults/${table}/part-1`, '1\n'.repeat(1000))
    await putObject(`faults/${table}/part-2`, '1\n'.repeat(1000))
    house.emulator.faults.set([fault])
    const failed = await load()
    expect(failed.Status).toBe('FAILED')
    expect(failed.Error).toContain('S3ServiceException')
    expect(failed.Error).toContain('CanRetry 1')
    expect((await load()).ResultRows).toBe(2000)
    expect(await count()).toBe(2000)
  })
})

it('can be set and looked at over HTTP', async () => {
  const url = `${house.emulator.url}/_emulator/faults`
  const put = await fetch(url, { method: 'PUT', body: JSON.stringify([{ kind: 'throttle', times: 1 }]) })
  expect(put.status).toBe(200)
  await expect(house.client.send(insert())).rejects.toThrow('Rate exceeded')
  expect(await (await fetch(url)).json()).toEqual({
    faults: [{ fault: { kind: 'throttle', times: 1 }, matched: 1, fired: 1 }],
  })
  expect((await fetch(url, { method: 'PUT', body: '[{"kind": "nosuch"}]' })).status).toBe(400)
  await fetch(url, { method: 'DELETE' })
  expect(await (await fetch(url)).json()).toEqual({ faults: [] })
  const requests = await (await fetch(`${house.emulator.url}/_emulator/requests`)).json()
  expect(requests).toEqual(house.emulator.requests())
})

it('runs on its own', async () => {
  const { url } = await createDatabase('emulator_main', 'destination')
  const log = join(tempDir(), 'log.jsonl')
  const program = join(import.meta.dirname, '../emulator/main.ts')
  const { endpoint, accessKeyId, secretAccessKey } = s3Server()
  const keys = ['--s3-key', accessKeyId, '--s3-secret', secretAccessKey]
  const args = ['--postgres', url, '--s3', endpoint, ...keys, '--statements', log, '--isolation', 'snapshot']
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines: string[] = []
  for await (const line of createInterface(child.stdout)) {
    lines.push(line)
    if (line.startsWith('statements')) break
  }
  const client = new RedshiftDataClient({
    endpoint: lines[0]?.split(/\s+/)[1] ?? '',
    region: 'us-east-1',
    credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
  })
  const { Id } = await client.send(new ExecuteStatementCommand({ ...TARGET, Sql: 'select 1' }))
  expect((await finish(client, Id as string)).Status).toBe('FINISHED')
  expect(readFileSync(log, 'utf8')).toBe('{"sql":"select 1"}\n')
  client.destroy()
  child.kill('SIGTERM')
  expect(await once(child, 'exit')).toEqual([0, null])
  const usage = spawn(process.execPath, [program], { stdio: 'ignore' })
  expect(await once(usage, 'exit')).toEqual([2, null])
})
