import { describe, expect, it } from 'vitest'
import { compareVersions, createStore } from './store.ts'

interface Thing {
  readonly metadata: {
    readonly name: string
    readonly namespace: string
    readonly uid: string
    readonly resourceVersion: string
    readonly labels?: Record<string, string>
  }
}

const thing = (name: string, version: number, over: Partial<Thing['metadata']> = {}): Thing => ({
  metadata: { name, namespace: 'n', uid: name, resourceVersion: String(version), ...over },
})

function open() {
  const store = createStore<Thing>({ color: (object) => object.metadata.labels?.color })
  const told: string[] = []
  store.onChange((object, _, deleted) => {
    told.push(`${deleted ? '-' : ''}${object.metadata.name}@${object.metadata.resourceVersion}`)
  })
  return { store, told }
}

describe('createStore', () => {
  it('ignores what is older than what it knows', () => {
    const { store, told } = open()
    store.observe(thing('a', 10))
    store.observe(thing('a', 9))
    store.observe(thing('a', 10))
    store.observe(thing('a', 11))
    expect(told).toEqual(['a@10', 'a@11'])
  })

  it('drops what a list does not have, but not what is newer than the list or elsewhere', () => {
    const { store, told } = open()
    store.observe(thing('old', 5))
    store.observe(thing('mine', 30))
    store.observe(thing('far', 5, { namespace: 'm' }))
    told.length = 0
    store.replace('n', [thing('new', 15)], '20')
    expect(told).toEqual(['-old@5', 'new@15'])
    expect([...store.list()].map((object) => object.metadata.name).sort()).toEqual(['far', 'mine', 'new'])
    store.replace(undefined, [], '40')
    expect([...store.list()]).toEqual([])
  })

  it('keeps one that was made anew when the end of the old one is told late', () => {
    const { store, told } = open()
    store.observe(thing('a', 10, { uid: '1' }))
    store.observe(thing('a', 20, { uid: '2' }))
    store.forget(thing('a', 15, { uid: '1' }))
    expect(store.get('n/a')?.metadata.uid).toBe('2')
    store.forget(thing('a', 25, { uid: '2' }))
    expect(told.at(-1)).toBe('-a@20')
  })

  it('does not take what was deleted for alive when an answer about it comes late', () => {
    const { store } = open()
    store.forget(thing('a', 12))
    store.observe(thing('a', 11))
    expect(store.get('n/a')).toBeUndefined()
    store.observe(thing('b', 10))
    store.replace('n', [], '20')
    store.observe(thing('b', 15))
    expect(store.get('n/b')).toBeUndefined()
    // It had only left what is watched.
    store.observe(thing('b', 25))
    expect(store.get('n/b')?.metadata.resourceVersion).toBe('25')
    store.observe(thing('a', 13, { uid: 'another' }))
    expect(store.get('n/a')?.metadata.uid).toBe('another')
  })

  it('files by index, also after a change', () => {
    const { store } = open()
    store.observe(thing('a', 1, { labels: { color: 'red' } }))
    store.observe(thing('b', 2, { labels: { color: 'red' } }))
    store.observe(thing('a', 3, { labels: { color: 'blue' } }))
    const names = (color: string) => store.by('color', color).map((object) => object.metadata.name)
    expect([names('red'), names('blue'), names('green')]).toEqual([['b'], ['a'], []])
    store.forget(thing('b', 4))
    expect(names('red')).toEqual([])
  })
})

describe('compareVersions', () => {
  it.each([
    ['9', '10', -1],
    ['10', '9', 1],
    ['10', '10', 0],
    ['18446744073709551616', '18446744073709551615', 1],
  ])('%s and %s', (a, b, sign) => {
    expect(Math.sign(compareVersions(a, b))).toBe(sign)
  })
})
