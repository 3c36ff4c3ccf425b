import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { down } from './stack/down.ts'
import { fault } from './stack/faults.ts'
import { stackPaths } from './stack/paths.ts'
import { status } from './stack/status.ts'
import { up } from './stack/up.ts'

const usage = `usage: node hack/stack.ts COMMAND
  up [--replace]                    start what does not run; --replace ends the stack of another checkout first
  down                              end all of it and remove its data
  status                            show what runs
  stop|start|restart PART [--kill9] do that to one part: kafka, primary, replica, destination, kubelet, ...`

const log = (line: string) => console.log(line)

async function main(): Promise<number> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { replace: { type: 'boolean', default: false }, kill9: { type: 'boolean', default: false } },
  })
  const paths = stackPaths(join(import.meta.dirname, '..'))
  const [command, part] = positionals
  switch (command) {
    case 'up':
      await up(paths, { replace: values.replace, log })
      return 0
    case 'down':
      await down(paths, log)
      return 0
    case 'status':
      return (await status(paths, log)) ? 0 : 1
    case 'stop':
    case 'start':
    case 'restart':
      if (!part) break
      await fault(paths, command, part, values.kill9)
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
