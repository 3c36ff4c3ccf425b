import { describe, expect, it } from 'vitest'
import type { PipelineSpec, PipelineStatus, Problem } from '../../crds/pipeline.ts'
import { pipeline } from '../../test/operator/objects.ts'
import type { WorkloadState } from '../pods/problems.ts'
import { type ConditionFacts, pipelineConditions } from './conditions.ts'
import type { TableView } from './tables.ts'

const up: WorkloadState = { wanted: true, ready: true, problem: undefined }
const down: WorkloadState = { wanted: true, ready: false, problem: undefined }
const off: WorkloadState = { wanted: false, ready: false, problem: undefined }
const view = (over: Partial<TableView> = {}): TableView => ({
  status: { schema: 's', name: 't', state: 'Streaming', message: 'm' },
  settled: true,
  failed: false,
  ...over,
})
const problem = (component: Problem['component'], code: string): Problem => ({
  component,
  code,
  message: `${code} it is`,
})

function conditions(
  given: Partial<Omit<ConditionFacts, 'pipeline'>> & {
    spec?: Partial<PipelineSpec>
    status?: PipelineStatus
  } = {},
) {
  const { spec, status, ...facts } = given
  return pipelineConditions({
    pipeline: pipeline(spec, status ?? { capture: {}, apply: {} }),
    capture: up,
    apply: up,
    tables: [view()],
    trouble: undefined,
    deleting: undefined,
    ...facts,
  })
}

const parts = (given: Parameters<typeof conditions>[0]) =>
  conditions(given)
    .slice(1, 5)
    .map(({ type, status, reason }) => `${type.replace('Ready', '')} ${status} ${reason}`)

describe('Ready', () => {
  it.each<[string, Parameters<typeof conditions>[0], string, string]>([
    ['all well', {}, 'True Streaming', 'the table streams'],
    ['no tables', { tables: [] }, 'True Streaming', 'spec.tables is empty: add tables to replicate'],
    [
      'nothing yet',
      { status: {}, capture: down, apply: down },
      'False Starting',
      'capture has not reported yet',
    ],
    [
      'a pod that cannot run',
      { status: {}, capture: { ...down, problem: 'no image' }, apply: down },
      'False WorkersNotReady',
      'no image',
    ],
    ['a restart', { apply: down }, 'False WorkersNotReady', 'apply is not ready'],
    [
      'a broken source',
      { status: { capture: { problems: [problem('Source', 'WrongWALLevel')] } }, capture: down },
      'False SourceNotReady',
      'WrongWALLevel it is',
    ],
    [
      'a lost slot',
      { status: { capture: { problems: [problem('Slot', 'SlotLost')] } } },
      'False SlotNotReady',
      'SlotLost it is',
    ],
    [
      'a broken destination',
      { status: { apply: { problems: [problem('Destination', 'AuthenticationFailed')] } } },
      'False DestinationNotReady',
      'AuthenticationFailed it is',
    ],
    [
      'a paused Pipeline',
      { spec: { state: 'Paused' }, apply: off },
      'False Paused',
      'spec.state is Paused: changes are captured into the queue, nothing is applied',
    ],
    [
      'a paused Pipeline with a broken source',
      {
        spec: { state: 'Paused' },
        apply: off,
        status: { capture: { problems: [problem('Source', 'HostUnreachable')] } },
      },
      'False SourceNotReady',
      'HostUnreachable it is',
    ],
    [
      'a stopped Pipeline',
      { spec: { state: 'Stopped' }, capture: off, apply: off },
      'False Stopped',
      'spec.state is Stopped: the slot stays and the source keeps its log for it',
    ],
    [
      'a backfill',
      { tables: [view(), view({ settled: false })] },
      'False Backfilling',
      '1 of 2 tables do not stream yet',
    ],
    [
      'a failed table',
      { tables: [view({ failed: true }), view({ settled: false })] },
      'False TablesFailed',
      's.t: m',
    ],
    [
      'a name that is taken',
      { trouble: 'Deployment x exists' },
      'False WorkersNotReady',
      'Deployment x exists',
    ],
    ['deletion', { deleting: 'waiting for pods' }, 'False Deleting', 'waiting for pods'],
  ])('with %s', (_, given, expected, message) => {
    const [ready] = conditions(given)
    expect(`${ready?.status} ${ready?.reason}`).toBe(expected)
    expect(ready?.message).toBe(message)
  })
})

describe('conditions of the parts', () => {
  it('are what their worker says', () => {
    expect(parts({})).toEqual([
      'Source True Connected',
      'Slot True Connected',
      'Queue True Connected',
      'Destination True Connected',
    ])
    expect(
      parts({ status: { capture: { problems: [problem('Queue', 'TLSFailed')] } }, capture: down }),
    ).toEqual([
      'Source Unknown NotReported',
      'Slot Unknown NotReported',
      'Queue False TLSFailed',
      'Destination Unknown NotReported',
    ])
  })

  it('do not count a problem of one table', () => {
    const one = { ...problem('Source', 'TableNotFound'), table: { schema: 's', name: 't' } }
    expect(parts({ status: { capture: { problems: [one] }, apply: {} } })[0]).toBe('Source True Connected')
  })

  it('are unknown while nothing runs', () => {
    expect(parts({ spec: { state: 'Paused' }, apply: off }).at(-1)).toBe('Destination Unknown Stopped')
  })
})

describe('GapFree', () => {
  const table = { schema: 's', name: 't', state: 'Streaming', historyComplete: true } as const
  const gap = { epoch: 2, code: 'SourceChanged', message: 'promoted' }
  const gapFree = (given: Parameters<typeof conditions>[0]) => {
    const found = conditions(given).find(({ type }) => type === 'GapFree')
    return `${found?.status} ${found?.reason} ${found?.message}`
  }

  it.each<[string, Parameters<typeof conditions>[0], RegExp]>([
    ['is unknown before apply has reported', { status: { capture: {} } }, /^Unknown NotReported/],
    ['is true while nothing was lost', { status: { apply: { tables: [table] } } }, /^True NoGap $/],
    [
      'names code, tables and what follows',
      {
        status: { apply: { tables: [{ ...table, needsEmptying: true, code: 'SlotLost', message: 'gone' }] } },
        spec: { onGap: 'Halt' },
      },
      /^False SlotLost s\.t: SlotLost: gone\. spec\.onGap is Halt: create a TableBackfill/,
    ],
    [
      'says so without a code too',
      { status: { apply: { tables: [{ ...table, needsEmptying: true }] } } },
      /^False ChangesLost s\.t: ChangesLost\. spec\.onGap is Backfill: they are emptied/,
    ],
    [
      'stays until the table is copied and drained',
      { status: { apply: { tables: [{ ...table, gap: 'SlotLost', code: 'SlotLost', message: 'gone' }] } } },
      /^False SlotLost s\.t: SlotLost: gone\. /,
    ],
    [
      'keeps its name while something else is wrong',
      {
        status: {
          apply: { tables: [{ ...table, gap: 'SlotLost', code: 'ValueRejected', message: 'no' }] },
        },
      },
      /^False SlotLost s\.t: SlotLost\. /,
    ],
    [
      'names what capture has found while apply does not come to it',
      {
        status: { capture: { epoch: 2, gap }, apply: { tables: [{ ...table, epoch: 1 }] } },
        spec: { state: 'Paused' },
      },
      /^False SourceChanged s\.t: SourceChanged: promoted\. /,
    ],
    [
      'tells that there is a gap of which capture could not tell more',
      { status: { capture: { epoch: 3, gap }, apply: { tables: [{ ...table, epoch: 2 }] } } },
      /^False ChangesLost s\.t: ChangesLost\. /,
    ],
    [
      'leaves it to apply once that has come to it',
      { status: { capture: { epoch: 2, gap }, apply: { tables: [{ ...table, epoch: 2 }] } } },
      /^True NoGap $/,
    ],
    [
      'has none for a table of which nothing was applied',
      { status: { capture: { epoch: 2, gap }, apply: { tables: [table] } } },
      /^True NoGap $/,
    ],
  ])('%s', (_, given, expected) => {
    expect(gapFree(given)).toMatch(expected)
  })
})
