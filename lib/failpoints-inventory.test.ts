import { globSync, readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { beforeAll, describe, expect, it } from 'vitest'
import { around, configureFailpoints, FAILPOINTS, failpoint } from './failpoints.ts'

// Each place that can be named is one that is passed, and each room that does something to the outside has its places.

const SOURCES = globSync('{workers,operator}/**/*.ts', { exclude: ['**/*.test.ts'] })
let text = ''
beforeAll(() => {
  text = SOURCES.map((file) => readFileSync(file, 'utf8')).join('\n')
})

describe('failpoints', () => {
  it.each([...new Set(FAILPOINTS.map((name) => name.replace(/\.(before|after)$/, '')))])(
    '%s is passed somewhere',
    (name) => {
      expect(text).toMatch(new RegExp(`'${name.replaceAll('.', '\\.')}(\\.before|\\.after)?'`))
    },
  )

  it.each([
    ['the slot is told', 'capture.feedback'],
    ['runs are sent', 'capture.send'],
    ['what was acknowledged is recorded', 'capture.record'],
    ['a table joins', 'capture.join'],
    ['a table leaves', 'capture.leave'],
    ['a gap is told', 'capture.gap'],
    ['a slot is made', 'capture.slot.create'],
    ['a topic is made', 'queue.topic'],
    ['applied records are deleted', 'queue.delete'],
    ['a batch is applied', 'destination.flush'],
    ['a transaction of the destination commits', 'destination.commit'],
    ['the destination action runs', 'destination.action'],
    ['a chunk is written', 'destination.chunk'],
    ['a hold is written', 'watermark.hold'],
    ['a release is written', 'watermark.release'],
    ['held is recorded', 'ledger.held'],
    ['copied is recorded', 'ledger.copied'],
    ['a backfill is closed', 'ledger.close'],
    ['a plan is recorded', 'ledger.plan'],
    ['a status is written', 'status.write'],
    ['a Job is made', 'operator.job'],
    ['a finalizer comes or goes', 'operator.finalizer'],
    ['the slot goes with the Pipeline', 'cleanup.slot'],
    ['the publication goes with the Pipeline', 'cleanup.publication'],
  ])('there is a place before and after: %s', (_what, effect) => {
    expect(FAILPOINTS).toContain(`${effect}.before`)
    expect(FAILPOINTS).toContain(`${effect}.after`)
  })

  it('cost next to nothing when none is set', () => {
    configureFailpoints(undefined, { warn: () => {} })
    const passes = 1_000_000
    const began = performance.now()
    for (let i = 0; i < passes; i += 1) failpoint('capture.feedback.before')
    const nanoseconds = ((performance.now() - began) * 1e6) / passes
    // Some nanoseconds; a machine that is busy with other things is forgiven much.
    expect(nanoseconds).toBeLessThan(1_000)
  })

  it('leave a promise as it is when none is set', () => {
    configureFailpoints(undefined, { warn: () => {} })
    const promise = Promise.resolve(1)
    expect(around('capture.send', () => promise)).toBe(promise)
  })
})
