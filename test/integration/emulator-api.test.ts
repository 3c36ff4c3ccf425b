import { afterAll, beforeAll, expect, it } from 'vitest'
import { openWarehouse, useS3, type Warehouse } from './emulator-setup.ts'

useS3()
let house: Warehouse
beforeAll(async () => {
  house = await openWarehouse('emulator_api')
})
afterAll(() => house.close())

it('smoke', async () => {
  console.log(
    await house.run(
      'create schema s',
      'create table s.t (a int primary key, b varchar(5), c super, d numeric(10,2))',
      `insert into s.t values (1, 'ab ', json_parse('{"a": [1, 2]}'), 1.235)`,
    ),
  )
  console.log(await house.rows('select * from s.t'))
  console.log(await house.rows(`select count(*), len(b) from s.t where b = 'ab' group by b`))
  console.log(await house.error(`insert into s.t values (1, 'abcdef')`))
  console.log(await house.error(`selec 1`))
  console.log(await house.rows(`select * from svv_columns where table_name = 't'`))
  expect(1).toBe(1)
})
