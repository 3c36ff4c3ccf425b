import { residentBytes } from '../process/procfs.ts'
import type { StackPaths } from './paths.ts'
import { existingServices } from './services.ts'
import { stackCluster, stackConfig } from './stack.ts'

interface Line {
  name: string
  pid: number | undefined
  address: string
  log: string
}

/** Says what of the stack runs, where, and with how much memory. True when all of it runs. */
export async function status(paths: StackPaths, log: (line: string) => void): Promise<boolean> {
  const config = stackConfig(paths)
  if (!config) {
    log('the stack is down')
    return false
  }
  const { kafka, redshift, ...servers } = await existingServices(config, paths.state)
  const cluster = await stackCluster(paths, log)
  const lines: Line[] = [
    ...Object.entries(servers).map(([name, server]) => ({
      name,
      pid: server.pid(),
      address: `127.0.0.1:${server.port} and ${config.podSide.host}:${server.port}`,
      log: server.logFile,
    })),
    {
      name: 'kafka',
      pid: kafka.pid(),
      address: [kafka.bootstrap, ...kafka.more].join(' and '),
      log: kafka.logFile,
    },
    ...(redshift
      ? [
          {
            name: 'redshift',
            pid: redshift.pid(),
            address: `${redshift.dataUrl} and ${redshift.s3Url}, an emulator`,
            log: redshift.logFile,
          },
        ]
      : []),
    ...cluster.daemons().map((part) => ({
      name: part.name,
      pid: part.running()?.pid,
      address: '',
      log: part.logFile,
    })),
  ]
  for (const line of lines) log(render(line, paths))
  const clusterUp = await cluster.isUp()
  log(`cluster (${cluster.kind}): ${clusterUp ? 'up' : 'down'}`)
  return clusterUp && lines.every(({ pid }) => pid !== undefined)
}

function render({ name, pid, address, log }: Line, paths: StackPaths): string {
  const state = pid === undefined ? 'down' : `pid ${pid}`
  const memory = pid === undefined ? '' : `${Math.round(residentBytes(pid) / 1024 ** 2)} MiB`
  const file = log.replace(`${paths.out}/`, 'out/')
  return `${name.padEnd(19)}${state.padEnd(12)}${memory.padEnd(10)}${file.padEnd(34)}${address}`.trimEnd()
}
