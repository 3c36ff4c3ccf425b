import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { fileSecrets } from './secrets.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-secrets-'))
afterAll(() => rmSync(folder, { recursive: true }))
const secrets = fileSecrets(folder)
const field = 'spec.source.postgres.credentialsSecretRef'

describe('fileSecrets', () => {
  it('reads the content of the moment, without the newline that editors add', async () => {
    mkdirSync(join(folder, 'source'))
    writeFileSync(join(folder, 'source/password'), 'one\n')
    expect(await secrets.read('source', 'password', field)).toBe('one')
    writeFileSync(join(folder, 'source/password'), ' two \n\n')
    expect(await secrets.read('source', 'password', field)).toBe(' two \n')
  })

  it('says the same for each file of a Secret that is missing as a whole', async () => {
    mkdirSync(join(folder, 'destination/..data'), { recursive: true })
    const messages = await Promise.all(
      (['username', 'password'] as const).map((file) =>
        secrets.read('destination', file, field).catch((error: Error) => error.message),
      ),
    )
    expect(messages[0]).toContain('no such Secret')
    expect(messages[1]).toBe(messages[0])
  })

  it('names the field when a Secret is missing or empty', async () => {
    writeFileSync(join(folder, 'source/username'), '\n')
    for (const file of ['username', 'ca.crt'] as const) {
      await expect(secrets.read('source', file, field)).rejects.toMatchObject({
        code: 'SecretMissing',
        field,
        retryable: true,
        message: expect.stringContaining(field),
      })
    }
  })
})
