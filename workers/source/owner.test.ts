import { describe, expect, it } from 'vitest'
import { isOfAnother, isOfOtherName, ownerComment, whyNotOwn } from './owner.ts'

const names = { publication: 'p', slot: 's' }
const owner = ownerComment('ns', 'shop', 'uid-1')

describe('slot and publication are dropped', () => {
  it.each<[string, string | undefined, string | undefined]>([
    [
      'when the publication names this Pipeline, although it crashed before it reported the slot',
      owner,
      undefined,
    ],
    ['when the publication is gone and the slot was reported', undefined, 's'],
    ['when a person wrote over the comment and the slot was reported', 'our publication', 's'],
  ])('%s', (_, comment, reportedSlot) => {
    expect(whyNotOwn(comment, names, { owner, reportedSlot })).toBeUndefined()
  })
})

describe('slot and publication stay', () => {
  it.each<[string, string | undefined, string | undefined, string]>([
    ['another Pipeline', ownerComment('ns', 'other', 'uid-2'), undefined, 'ns/other uid-2'],
    ['one of this name in another cluster', ownerComment('ns', 'shop', 'uid-2'), undefined, 'ns/shop uid-2'],
    ['another one by now', ownerComment('ns', 'other', 'uid-2'), 's', 'ns/other uid-2'],
    ['nobody, and nothing was reported', '', undefined, 'never reported'],
    ['nobody, and another slot was reported', 'our publication', 'before', 'never reported'],
  ])('when the publication names %s', (_, comment, reportedSlot, why) => {
    expect(whyNotOwn(comment, names, { owner, reportedSlot })).toContain(why)
  })

  it('when there is no publication and nothing was reported', () => {
    expect(whyNotOwn(undefined, names, { owner, reportedSlot: undefined })).toContain('no publication')
  })
})

describe('another owner', () => {
  it.each<[string, string, { name: boolean; other: boolean }]>([
    ['the same', owner, { name: false, other: false }],
    ['one made again', ownerComment('ns', 'shop', 'uid-2'), { name: false, other: true }],
    ['another name', ownerComment('ns', 'shop2', 'uid-1'), { name: true, other: true }],
    ['another namespace', ownerComment('ns2', 'shop', 'uid-1'), { name: true, other: true }],
    ['no comment', '', { name: false, other: false }],
    ['a note of a person', 'for the warehouse', { name: false, other: false }],
  ])('%s', (_, comment, expected) => {
    expect({ name: isOfOtherName(comment, owner), other: isOfAnother(comment, owner) }).toEqual(expected)
  })
})
