import { expect, it } from 'vitest'
import { untilReplayed } from './verify-bracket.ts'

const never = new AbortController().signal
const place = {
  field: 'spec.source.postgres.replicas[0]',
  credentialsField: '',
  host: 'replica',
  port: 5432,
  database: 'shop',
  connecting: false,
}
/** A replica that answers so, one answer after the other. */
function replica(...answers: { in_recovery: string; replayed: string }[]) {
  return { place, query: async () => [answers.shift() ?? { in_recovery: 't', replayed: '0/0' }] }
}

it('waits until a replica has replayed what is wanted', async () => {
  const behind = { in_recovery: 't', replayed: '0/5' }
  await untilReplayed(replica(behind, { ...behind, replayed: '0/10' }), 0x10n, never)
})

it('does not take a promoted replica for the source', async () => {
  const promoted = replica({ in_recovery: 'f', replayed: '0/20' })
  await expect(untilReplayed(promoted, 0x10n, never)).rejects.toMatchObject({
    code: 'ReplicaBehind',
    retryable: true,
    message: 'spec.source.postgres.replicas[0].host: replica:5432 is not a replica any more',
  })
})
