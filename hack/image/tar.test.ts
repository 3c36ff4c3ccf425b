import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { extendedRecord, type TarEntry, tarChunks } from './tar.ts'

const long = `${'a-long-folder-name/'.repeat(12)}file.txt`
const entries: TarEntry[] = [
  { type: 'directory', path: 'app', mode: 0o755 },
  { type: 'file', path: 'app/run.sh', mode: 0o755, content: Buffer.from('#!/bin/sh\n') },
  { type: 'file', path: 'app/block', mode: 0o644, content: Buffer.alloc(512, 'x') },
  { type: 'file', path: long, mode: 0o600, content: Buffer.from('deep') },
  { type: 'link', path: 'app/link', target: 'run.sh' },
]
const archive = () => Buffer.concat([...tarChunks(entries)])

describe('tarChunks', () => {
  it('is read by tar as it was written', () => {
    const dir = mkdtempSync(join(tmpdir(), 'tar-test-'))
    const path = join(dir, 'archive.tar')
    writeFileSync(path, archive())
    const listed = execFileSync('tar', ['--list', '--verbose', '--file', path], { encoding: 'utf8' })
    const deep = execFileSync('tar', ['--extract', '--to-stdout', '--file', path, long], { encoding: 'utf8' })
    rmSync(dir, { recursive: true })
    expect(
      listed
        .trim()
        .split('\n')
        .map((line) => line.replace(/^(\S+) .* 00:00 /, '$1 ')),
    ).toEqual([
      'drwxr-xr-x app/',
      '-rwxr-xr-x app/run.sh',
      '-rw-r--r-- app/block',
      `-rw------- ${long}`,
      'lrwxrwxrwx app/link -> run.sh',
    ])
    expect(deep).toBe('deep')
  })

  it('gives the same bytes each time, in whole blocks', () => {
    expect(archive().equals(archive())).toBe(true)
    expect(archive().length % 512).toBe(0)
  })
})

describe('extendedRecord', () => {
  it.each([
    [' path=a\n', '9 path=a\n'],
    [' path=ab\n', '11 path=ab\n'],
    [` path=${'a'.repeat(90)}\n`, `99 path=${'a'.repeat(90)}\n`],
    [` path=${'a'.repeat(91)}\n`, `101 path=${'a'.repeat(91)}\n`],
  ])('counts its own digits in %j', (rest, record) => {
    expect(extendedRecord(rest)).toBe(record)
    expect(Number.parseInt(record, 10)).toBe(record.length)
  })
})
