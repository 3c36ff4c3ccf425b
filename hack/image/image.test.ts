import { describe, expect, it } from 'vitest'
import { isNeededAtRunTime, isProgram } from './app.ts'
import { configDigest, layerOf } from './archive.ts'
import { loadedLibraries } from './base.ts'
import { imageConfig } from './build.ts'
import { parentEntries, textEntry } from './files.ts'

it('reads the libraries that ldd lists', () => {
  const listing = `\tlinux-vdso.so.1 (0x00007f91)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f92)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f93)
`
  expect(loadedLibraries(listing)).toEqual(['/lib/x86_64-linux-gnu/libc.so.6', '/lib64/ld-linux-x86-64.so.2'])
})

it.each([
  ['operator/main.ts', true],
  ['operator/main.test.ts', false],
  ['source/testdata/big.json', false],
  ['testdata.ts', true],
])('knows whether %s is part of the programs', (path, expected) => {
  expect(isProgram(path)).toBe(expected)
})

it.each([
  ['pg/lib/index.js', true],
  ['pg/LICENSE', true],
  ['pg/package.json', true],
  ['pg/lib/index.d.ts', false],
  ['pg/lib/index.js.map', false],
  ['pg/README.md', false],
])('knows whether %s is needed at run time', (path, expected) => {
  expect(isNeededAtRunTime(path)).toBe(expected)
})

it('lists the folders above files once, outermost first', () => {
  expect(parentEntries(['a/b/c', 'a/b/d', 'a/e']).map(({ path }) => path)).toEqual(['a', 'a/b'])
})

describe('configDigest', () => {
  const digest = (text: string) => configDigest(imageConfig, [layerOf([textEntry('app/a.ts', text)])])

  it('changes with the content alone', () => {
    expect(digest('one')).toBe(digest('one'))
    expect(digest('one')).not.toBe(digest('two'))
  })
})
