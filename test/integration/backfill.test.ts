import { describe, expect, it } from 'vitest'
import { query } from '../../hack/services/postgres.ts'
import { numbers, useBackfillBeds } from './backfill-beds.ts'

const withBed = useBackfillBeds()

describe('a backfill', () => {
  it('copies a table from the replica and says so', async () => {
    await withBed('plain', { source: numbers(5_000), backfill: { chunkRows: 1_000 } }, async (bed) => {
      await bed.complete()
      const { source, destination } = await bed.contents()
      expect(destination).toBe(source)
      expect(await bed.ledgerRow()).toMatchObject({
        state: 'copied',
        rows: 5_000n,
        scan: 'Key',
        append: true,
      })
      const replicaPort = Number(new URL(bed.source.replicaUrl).port)
      expect(await bed.copyStatus()).toMatchObject({
        stage: 'Done',
        attempt: 1,
        rowsCopied: 5_000,
        server: `127.0.0.1:${replicaPort}`,
        scan: 'Key',
        chunksDone: 5,
        chunksTotal: 5,
        actionDone: true,
      })
      const messages = await bed.messages()
      expect(messages.map(({ kind }) => kind)).toEqual(['join', 'hold', 'release'])
    })
  })

  it('copies an empty table', async () => {
    await withBed('empty', { source: 'create table t (id bigint primary key)' }, async (bed) => {
      await bed.complete()
      expect(await bed.ledgerRow()).toMatchObject({ state: 'copied', rows: 0n })
      expect(await query(bed.destinationUrl, 'select count(*)::int as n from t')).toEqual([{ n: 0 }])
    })
  })
})
