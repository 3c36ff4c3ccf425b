import { describe, expect, it } from 'vitest'
import { compareTypes, withTypes, withUnseenTypes } from './doubtful-types.ts'
import { compareFingerprints, type Fingerprint, withPast } from './fingerprint.ts'
import { column, leaves, none, rewritten } from './fingerprint-fixture.ts'

const before: Fingerprint = {
  oid: 10,
  columns: [column(1, 'id'), column(2, 'a', 'text')],
  lastNumber: 4,
  key: [1],
  leaves,
}

describe('a column that was added and changed between two looks', () => {
  const found = { ...before, columns: [...before.columns, column(5, 'b', 'text')], lastNumber: 5 }
  const logged = (type: string) => [{ named: ['id', 'b'], types: ['integer', type], xid: 7 }]
  const seen = withPast(before, { ...found, leaves: rewritten }, [], '0/500')

  it('has had another type when the log says so', () => {
    expect(compareTypes(seen, logged('integer'))).toEqual({
      code: 'SchemaChangeUnsupported',
      message: expect.stringContaining('column "b" was changed from integer to text'),
    })
    expect(compareTypes(seen, [])).toBeUndefined()
    expect(compareTypes(seen, logged('text'))).toBeUndefined()
    expect(compareTypes(seen, [...logged('text'), ...logged('integer')])).toBeDefined()
  })

  it('is not doubted when no row was written anew: the type was widened in place', () => {
    expect(compareTypes(withPast(before, found, [], '0/500'), logged('character varying(5)'))).toBeUndefined()
  })

  it('is doubted, whatever is seen of the table meanwhile, until the log has come to where it ended then', () => {
    const later = withPast(seen, { ...found, leaves: rewritten }, [], '0/900')
    expect(compareTypes(withTypes(later, 0x4ffn, false), logged('integer'))).toBeDefined()
    expect(compareTypes(withTypes(later, 0x500n, false), logged('integer'))).toBeUndefined()
  })

  it('is not doubted any more once that was told', () => {
    expect(compareTypes(withTypes(seen, 0n, true), logged('integer'))).toBeUndefined()
  })

  it('is one that was not there before, or was not known to have another type', () => {
    const known = { ...before, columns: [...before.columns, column(5, 'b')], lastNumber: 5 }
    expect(
      compareTypes(withPast(known, { ...found, leaves: rewritten }, [], '0/500'), logged('integer')),
    ).toBeUndefined()
    expect(compareFingerprints(known, { ...found, leaves: rewritten }, none)).toMatchObject({
      code: 'SchemaChangeUnsupported',
    })
  })
})

describe('a column that was changed and dropped between two looks', () => {
  const without: Fingerprint = { ...before, columns: before.columns.slice(0, 1), leaves: rewritten }
  const logged = (...types: string[]) =>
    types.map((type) => ({ named: ['id', 'a'], types: ['integer', type], xid: 7 }))
  const seen = withPast(before, without, [], '0/500')

  it('has had another type when the log says so', () => {
    expect(compareTypes(seen, logged('integer'))).toEqual({
      code: 'SchemaChangeUnsupported',
      message: expect.stringContaining('column "a" was changed from text to integer'),
    })
    expect(compareTypes(seen, logged('text'))).toBeUndefined()
  })

  it('is not doubted when no row was written anew', () => {
    const dropped = withPast(before, { ...without, leaves: before.leaves }, [], '0/500')
    expect(compareTypes(dropped, logged('integer'))).toBeUndefined()
    expect(dropped).not.toHaveProperty('gone')
  })

  it('is doubted, whatever is seen of the table meanwhile, until the log has come to where it ended then', () => {
    const later = withPast(JSON.parse(JSON.stringify(seen)), without, [], '0/900')
    expect(compareTypes(withTypes(later, 0x4ffn, false), logged('integer'))).toBeDefined()
    expect(compareTypes(withTypes(later, 0x500n, false), logged('integer'))).toBeUndefined()
    expect(compareTypes(withTypes(later, 0n, true), logged('integer'))).toBeUndefined()
  })

  it('is doubted also when it was in doubt before it was dropped, without another rewriting', () => {
    const more = {
      ...before,
      columns: [...before.columns, column(5, 'b', 'text')],
      lastNumber: 5,
      leaves: rewritten,
    }
    const came = withPast(before, more, [], '0/500')
    const went = withPast(came, { ...more, columns: before.columns }, [], '0/900')
    expect(went.gone).toEqual([{ name: 'b', type: 'text', unsure: '0/500' }])
  })

  it('is compared with what the log had first when nobody ever saw it', () => {
    const brief = { ...before, lastNumber: 5, leaves: rewritten, droppedNumbers: [5] }
    const told = (type: string) => [{ named: ['id', 'b'], types: ['integer', type], xid: 7 }]
    const look = (past: Fingerprint, type: string) =>
      withUnseenTypes(withPast(past, brief, ['id', 'b'], '0/500'), told(type))
    const first = look(withPast(before, brief, [], '0/500'), 'integer')
    expect(compareTypes(first, told('integer'))).toBeUndefined()
    expect(compareTypes(look(first, 'text'), told('text'))?.message).toMatch(
      /"b" was changed from integer to text/,
    )
    const inPlace = withPast(before, { ...brief, leaves: before.leaves }, ['id', 'b'], '0/500')
    expect(withUnseenTypes(inPlace, told('integer'))).not.toHaveProperty('gone')
  })
})
