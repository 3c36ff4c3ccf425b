import './hooks.ts'
import { installClock } from './clock.ts'
import { currentProcess, runAs } from './process.ts'
import { modelSettings } from './settings.ts'

// Schedules in this process, whose clock and modules are the model's from here on.
const { first, count, most, verbose } = modelSettings()

const write = process.stdout.write.bind(process.stdout)
const began = process.hrtime.bigint()
const seconds = () => Number(process.hrtime.bigint() - began) / 1e9
const clock = installClock(currentProcess, runAs)
const { generate, replay, shrink } = await import('./schedule.ts')
const { world } = await import('./world.ts')

process.on('unhandledRejection', (reason) => {
  world().check.broken ??= `unhandled: ${reason instanceof Error ? reason.stack : String(reason)}`
})

const fixed = process.env.PROFILE ? JSON.parse(process.env.PROFILE) : {}
let failures = 0
let steps = 0
let done = 0
for (let seed = first; seed < first + count && failures < most; seed += 1) {
  const outcome = await generate(String(seed), clock, fixed)
  done += 1
  steps += outcome.schedule.length
  if (outcome.failure === undefined) {
    if (verbose && count === 1) write(`${outcome.log.join('\n')}\n`)
    continue
  }
  failures += 1
  const shrinkUntil = seconds() + 60
  const again = await replay(outcome.profile, outcome.schedule, clock, String(seed))
  const short =
    again.failure === undefined || process.env.SHRINK === '0'
      ? outcome
      : await shrink(again, clock, String(seed), () => seconds() > shrinkUntil)
  write(`seed ${seed}: ${short.failure}\n`)
  if (again.failure === undefined) write('  (not the same when repeated)\n')
  write(
    `  ${short.schedule.length} of ${outcome.schedule.length} steps; repeat with: SEED=${seed} VERBOSE=1 node test/model/main.ts\n`,
  )
  if (verbose) write(`${JSON.stringify(short.profile)}\n${short.log.join('\n')}\n`)
}
write(`model: schedules=${done} steps=${steps} failures=${failures} seconds=${seconds().toFixed(1)}\n`)
process.exit(failures === 0 ? 0 : 1)
