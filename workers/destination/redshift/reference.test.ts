import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { REFERENCE, typesReference } from './reference.ts'

it('the reference in the repository is what the mapping gives', async () => {
  const present = await readFile(join(import.meta.dirname, '../../..', REFERENCE), 'utf8')
  expect(present, 'run `node workers/destination/redshift/reference.ts`').toBe(typesReference())
})
