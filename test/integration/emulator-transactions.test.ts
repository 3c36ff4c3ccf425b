import {
  BatchExecuteStatementCommand,
  DescribeStatementCommand,
  ExecuteStatementCommand,
} from '@aws-sdk/client-redshift-data'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  BUCKET,
  finish,
  openWarehouse,
  putObject,
  ROLE,
  TARGET,
  useS3,
  type Warehouse,
} from './emulator-setup.ts'

useS3()
let serializable: Warehouse
let snapshot: Warehouse
beforeAll(async () => {
  ;[serializable, snapshot] = await Promise.all([
    openWarehouse('emulator_serializable', { isolation: 'serializable' }),
    openWarehouse('emulator_snapshot', { isolation: 'snapshot' }),
  ])
})
afterAll(() => Promise.all([serializable.close(), snapshot.close()]))

/** A session of its own, whose statements the test runs one by one. */
async function openSession(house: Warehouse) {
  const { SessionId, Id } = await house.client.send(
    new ExecuteStatementCommand({ ...TARGET, Sql: 'select 1', SessionKeepAliveSeconds: 600 }),
  )
  await finish(house.client, Id as string)
  const start = async (sql: string) => {
    const { Id: id } = await house.client.send(new ExecuteStatementCommand({ SessionId, Sql: sql }))
    return { id: id as string, end: () => finish(house.client, id as string) }
  }
  const run = async (sql: string) => (await start(sql)).end()
  const must = async (...sqls: string[]) => {
    for (const sql of sqls) {
      const { Status, Error: message } = await run(sql)
      if (Status !== 'FINISHED') throw new Error(`${sql}: ${message}`)
    }
  }
  return { start, run, must }
}

async function isWaiting(house: Warehouse, id: string) {
  await expect
    .poll(async () => (await house.client.send(new DescribeStatementCommand({ Id: id }))).Status)
    .toBe('STARTED')
  // It has had the time to end if nothing held it.
  const after = await house.client.send(new DescribeStatementCommand({ Id: id, WaitTimeSeconds: 1 }))
  return after.Status === 'STARTED'
}

let tables = 0
async function newTables(house: Warehouse, count = 1) {
  const names = Array.from({ length: count }, () => `t${++tables}`)
  for (const name of names)
    await house.run(`create table ${name} (a int, b int)`, `insert into ${name} values (1, 1), (2, 2)`)
  return names as [string, string]
}

const VIOLATION =
  /^ERROR: 1023\n {2}Detail: Serializable isolation violation on table - \d+, transactions forming the cycle are: \d+, \d+ \(pid:\d+\)$/

describe('SERIALIZABLE', () => {
  it('refuses the second of two that read and wrote the same table, whichever it is', async () => {
    for (const second of ['a', 'b'] as const) {
      const [table] = await newTables(serializable)
      const sessions = { a: await openSession(serializable), b: await openSession(serializable) }
      const first = second === 'a' ? 'b' : 'a'
      await sessions.a.must('begin', `select count(*) from ${table}`)
      await sessions.b.must('begin', `select count(*) from ${table}`)
      await sessions[first].must(`update ${table} set b = 5 where a = 1`, 'commit')
      // Not the same row, but the same table.
      const refused = await sessions[second].run(`update ${table} set b = 6 where a = 2`)
      expect(refused.Status).toBe('FAILED')
      expect(refused.Error).toMatch(VIOLATION)
      expect((await sessions[second].run('commit')).Status).toBe('FINISHED')
      expect(await serializable.rows(`select b from ${table} order by a`)).toEqual([[5], [2]])
    }
  })

  it('refuses write skew at the latest at the commit', async () => {
    const [one, two] = await newTables(serializable, 2)
    const [a, b] = [await openSession(serializable), await openSession(serializable)]
    await a.must('begin', `select count(*) from ${one}`, `insert into ${two} values (9, 9)`)
    await b.must('begin', `select count(*) from ${two}`, `insert into ${one} values (9, 9)`)
    await a.must('commit')
    const refused = await b.run('commit')
    expect(refused.Error).toMatch(VIOLATION)
    expect(await serializable.rows(`select count(*) from ${one}`)).toEqual([[2]])
  })

  it('lets a statement that waits from the start go on', async () => {
    const [table] = await newTables(serializable)
    const [a, b] = [await openSession(serializable), await openSession(serializable)]
    await a.must('begin', `delete from ${table} where a = 1`)
    await b.must('begin')
    const waiting = await b.start(`delete from ${table} where a = 2`)
    expect(await isWaiting(serializable, waiting.id)).toBe(true)
    await a.must('commit')
    // Its snapshot came after the lock.
    expect(await waiting.end()).toMatchObject({ Status: 'FINISHED', ResultRows: 1 })
    await b.must('commit')
  })

  it('LOCK as the first statement prevents the violation, as a later one it does not', async () => {
    const [table] = await newTables(serializable)
    for (const before of [[], [`select count(*) from ${table}`]]) {
      const [a, b] = [await openSession(serializable), await openSession(serializable)]
      await b.must('begin', ...before)
      if (before.length === 0) await a.must('begin', `lock ${table}`, `update ${table} set b = b + 1`)
      else await a.must('begin', `update ${table} set b = b + 1`)
      const lock = before.length === 0 ? await b.start(`lock ${table}`) : undefined
      if (lock) expect(await isWaiting(serializable, lock.id)).toBe(true)
      await a.must('commit')
      await lock?.end()
      const update = await b.run(`update ${table} set b = b + 1`)
      if (before.length === 0) expect(update.Status).toBe('FINISHED')
      else expect(update.Error).toMatch(VIOLATION)
      await b.run('commit')
    }
    expect(await serializable.rows(`select b from ${table} order by a`)).toEqual([[4], [5]])
  })

  it('inserts and loads wait for each other and both succeed', async () => {
    const [table] = await newTables(serializable)
    await putObject('transactions/part', '7,7\n')
    const [a, b] = [await openSession(serializable), await openSession(serializable)]
    await a.must('begin', `insert into ${table} values (3, 3)`)
    await b.must('begin', 'select 1')
    const load = await b.start(`copy ${table} from 's3://${BUCKET}/transactions/part' iam_role '${ROLE}' csv`)
    expect(await isWaiting(serializable, load.id)).toBe(true)
    await a.must('commit')
    expect((await load.end()).Status).toBe('FINISHED')
    await b.must('commit')
    expect(await serializable.rows(`select count(*) from ${table}`)).toEqual([[4]])
  })

  it('does not disturb readers', async () => {
    const [table] = await newTables(serializable)
    const [a, b] = [await openSession(serializable), await openSession(serializable)]
    await a.must('begin', `select count(*) from ${table}`)
    await b.must(`update ${table} set b = 9`)
    expect((await a.run(`select * from ${table} where b = 9`)).ResultRows).toBe(0)
    await a.must('commit')
    expect((await a.run(`select * from ${table} where b = 9`)).ResultRows).toBe(2)
  })

  it('finds deadlocks', async () => {
    const [one, two] = await newTables(serializable, 2)
    const [a, b] = [await openSession(serializable), await openSession(serializable)]
    await a.must('begin', `insert into ${one} values (1, 1)`)
    await b.must('begin', `insert into ${two} values (1, 1)`)
    const waiting = await a.start(`insert into ${two} values (1, 1)`)
    const closing = await b.run(`insert into ${one} values (1, 1)`)
    const waited = await waiting.end()
    expect([closing.Status, waited.Status].sort()).toEqual(['FAILED', 'FINISHED'])
    expect(closing.Error ?? waited.Error).toContain('deadlock detected')
    for (const session of [a, b]) await session.run('commit')
  })

  it('does not know a table that is younger than the snapshot', async () => {
    const [table] = await newTables(serializable)
    const a = await openSession(serializable)
    await a.must('begin', `select count(*) from ${table}`)
    await serializable.run(`drop table if exists ${table}_new`, `create table ${table}_new (a int)`)
    expect((await a.run(`select * from ${table}_new`)).Error).toContain(
      'ERROR: 1018\n  Detail: Relation does not exist',
    )
    await a.run('rollback')
  })

  it('two batches at a time never both read an old value', async () => {
    const [table] = await newTables(serializable)
    await serializable.run(`update ${table} set b = 0`)
    const add = async () => {
      for (;;) {
        const { Id } = await serializable.client.send(
          new BatchExecuteStatementCommand({
            ...TARGET,
            Sqls: [`select max(b) from ${table}`, `update ${table} set b = b + 1`],
          }),
        )
        const { Status, Error: message } = await finish(serializable.client, Id as string)
        if (Status === 'FINISHED') return
        if (!/1023|deadlock/.test(message ?? '')) throw new Error(message)
      }
    }
    await Promise.all(Array.from({ length: 8 }, add))
    expect(await serializable.rows(`select b from ${table}`)).toEqual([[8], [8]])
  })
})

describe('SNAPSHOT', () => {
  it('refuses only those who changed the same row', async () => {
    const [table] = await newTables(snapshot)
    for (const row of [1, 2]) {
      const [a, b] = [await openSession(snapshot), await openSession(snapshot)]
      await a.must('begin', `select count(*) from ${table}`)
      await b.must('begin', `select count(*) from ${table}`)
      await a.must(`update ${table} set b = 5 where a = 1`, 'commit')
      const second = await b.run(`update ${table} set b = 6 where a = ${row}`)
      if (row === 1)
        expect(second.Error).toBe('ERROR: could not complete because of conflict with concurrent transaction')
      else expect(second.Status).toBe('FINISHED')
      await b.run('commit')
    }
  })

  it('allows write skew and inserts at the same time', async () => {
    const [one, two] = await newTables(snapshot, 2)
    const [a, b] = [await openSession(snapshot), await openSession(snapshot)]
    await a.must('begin', `select count(*) from ${one}`, `insert into ${two} values (9, 9)`)
    await b.must(
      'begin',
      `select count(*) from ${two}`,
      `insert into ${one} values (9, 9)`,
      `insert into ${two} values (8, 8)`,
    )
    await a.must('commit')
    await b.must('commit')
    expect(await snapshot.rows(`select count(*) from ${two}`)).toEqual([[4]])
  })

  it('an update waits for an insert that is not committed', async () => {
    const [table] = await newTables(snapshot)
    const [a, b] = [await openSession(snapshot), await openSession(snapshot)]
    await a.must('begin', `insert into ${table} values (3, 3)`)
    const waiting = await b.start(`update ${table} set b = 0`)
    expect(await isWaiting(snapshot, waiting.id)).toBe(true)
    await a.must('commit')
    expect((await waiting.end()).ResultRows).toBe(3)
  })
})

describe('TRUNCATE', () => {
  it('commits what came before it in the batch, and what comes after stands alone', async () => {
    const [one, two] = await newTables(serializable, 2)
    const described = await serializable.run(
      `insert into ${one} values (3, 3)`,
      `truncate ${two}`,
      `insert into ${one} values (4, 4)`,
      'select 1/0',
    )
    expect(described.Status).toBe('FAILED')
    expect(await serializable.rows(`select a from ${one} order by a`)).toEqual([[1], [2], [3], [4]])
    expect(await serializable.rows(`select count(*) from ${two}`)).toEqual([[0]])
  })

  it('ends the transaction of a session', async () => {
    const [one, two] = await newTables(serializable, 2)
    const a = await openSession(serializable)
    await a.must('begin', `delete from ${one}`, `truncate ${two}`)
    await a.run('rollback')
    expect(await serializable.rows(`select count(*) from ${one}`)).toEqual([[0]])
  })

  it('does nothing when something before it failed', async () => {
    const [one] = await newTables(serializable)
    await serializable.run('select 1/0', `truncate ${one}`)
    expect(await serializable.rows(`select count(*) from ${one}`)).toEqual([[2]])
  })
})

describe('DDL', () => {
  it('is part of the transaction', async () => {
    const [table] = await newTables(serializable)
    const described = await serializable.run(
      `create table ${table}_made (a int)`,
      `alter table ${table} add column c varchar(5) default 'x'`,
      `drop table ${table}_made`,
      'select 1/0',
    )
    expect(described.Status).toBe('FAILED')
    expect(await serializable.rows(`select count(*) from svv_columns where table_name = '${table}'`)).toEqual(
      [[2]],
    )
    expect(await serializable.error(`select * from ${table}_made`)).toContain('does not exist')
  })

  it('makes a table once', async () => {
    const name = `t${++tables}`
    const made = await Promise.all(
      Array.from({ length: 4 }, () => serializable.run(`create table ${name} (a int)`)),
    )
    expect(made.filter(({ Status }) => Status === 'FINISHED')).toHaveLength(1)
    const messages = made.flatMap((each) => each.Error ?? [])
    expect(new Set(messages)).toEqual(new Set([`ERROR: relation "${name}" already exists`]))
  })

  it('keeps others from the table until it ends', async () => {
    const [table] = await newTables(serializable)
    const [a, b] = [await openSession(serializable), await openSession(serializable)]
    await a.must('begin', `alter table ${table} add column c int`)
    const waiting = await b.start(`select * from ${table}`)
    expect(await isWaiting(serializable, waiting.id)).toBe(true)
    await a.must('commit')
    expect((await waiting.end()).Status).toBe('FINISHED')
  })
})
