import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { destinationKind } from './demo/stack-env.ts'
import { withLock } from './process/lock.ts'
import { down } from './stack/down.ts'
import { fault } from './stack/faults.ts'
import { stackPaths } from './stack/paths.ts'
import { status } from './stack/status.ts'
import { up } from './stack/up.ts'

const usage = `usage: node hack/stack.ts COMMAND
  up [--replace] [--redshift]       start what does not run; --replace ends the stack of another checkout first,
                                    as CI=true does; --redshift, or DEST=redshift: with the Redshift emulator
  down                              end all of it and remove its data
  status                            show what runs
  stop|start|restart PART [--kill9] do that to one part: kafka, primary, replica, destination, kubelet, ...`

const log = (line: string) => console.log(line)

async function main(): Promise<number> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      replace: { type: 'boolean', default: false },
      redshift: { type: 'boolean', default: false },
      kill9: { type: 'boolean', default: false },
    },
  })
  const paths = stackPaths(join(import.meta.dirname, '..'))
  const [command, part] = positionals
  const alone = (work: () => Promise<void>) => withLock(paths.lock, work)
  // A run of continuous integration may find a machine where a developer's stack was left up.
  const replace = values.replace || process.env.CI === 'true'
  const redshift = values.redshift || destinationKind() === 'redshift'
  switch (command) {
    case 'up':
      await alone(() => up(paths, { replace, redshift, log }))
      return 0
    case 'down':
      await alone(() => down(paths, log))
      return 0
    case 'status':
      return (await status(paths, log)) ? 0 : 1
    case 'stop':
    case 'start':
    case 'restart':
      if (!part) break
      await alone(() => fault(paths, command, part, values.kill9))
      log(`${part}: ${command} done`)
      return 0
  }
  console.error(usage)
  return 2
}

try {
  process.exitCode = await main()
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
