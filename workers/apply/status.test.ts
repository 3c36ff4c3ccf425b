import { expect, it } from 'vitest'
import type { AppliedTable, ApplyStatus } from '../../crds/pipeline.ts'
import type { KubeApi } from '../../lib/kube/api.ts'
import { createLogger } from '../../lib/log.ts'
import { createStatusKeeper } from './status.ts'

it('repeats what an earlier process has reported until the ledger was read', async () => {
  const written: ApplyStatus[] = []
  const kube = {
    async applyStatus(_resource: object, _name: string, _manager: string, status: { apply: ApplyStatus }) {
      written.push(status.apply)
      return {}
    },
  } as unknown as KubeApi
  let before: AppliedTable[] = [{ schema: 'public', name: 't', state: 'Paused' }]
  const keeper = createStatusKeeper({
    kube,
    env: { namespace: 'n', pipeline: 'p', pipelineUid: 'u' },
    log: createLogger('test', 'silent'),
    states: () => [],
    before: () => before,
    backfills: () => [],
    problems: () => [],
  })
  keeper.changed(true)
  await expect.poll(() => written).toEqual([{ tables: before }])
  before = []
  keeper.changed(true)
  await expect.poll(() => written.at(-1)).toEqual({ tables: [] })
  await keeper.close(AbortSignal.timeout(1_000))
})
