import type { StackPaths } from './paths.ts'
import { existingServices } from './services.ts'
import { stackCluster, stackConfig } from './stack.ts'

export type Fault = 'stop' | 'start' | 'restart'

/** What can be done to a part of the stack. */
interface Part {
  stop(): Promise<void>
  kill9(): Promise<void>
  start(): Promise<void>
}

/**
 * Stops, starts or restarts one part of a running stack: `kafka`, `primary`, `replica`, `destination`, or a process of
 * the cluster without Docker. With `kill9` it is killed instead of being asked to end. Data stays. Fails when
 * the stack is down or has no such part.
 */
export async function fault(paths: StackPaths, what: Fault, name: string, kill9: boolean) {
  const part = await findPart(paths, name)
  if (what !== 'start') await (kill9 ? part.kill9() : part.stop())
  if (what !== 'stop') await part.start()
}

async function findPart(paths: StackPaths, name: string): Promise<Part> {
  const config = stackConfig(paths)
  if (!config) throw new Error('the stack is down')
  const services: Record<string, Part> = { ...(await existingServices(config, paths.state)) }
  const cluster = await stackCluster(paths, () => {})
  const daemons = Object.fromEntries(
    cluster.daemons().map((daemon) => [
      daemon.name,
      // Only the cluster knows how its parts are started; it starts those that do not run.
      { stop: () => daemon.stop(), kill9: daemon.kill9, start: async () => void (await cluster.start()) },
    ]),
  )
  const part = services[name] ?? daemons[name]
  if (!part) {
    const known = [...Object.keys(services), ...Object.keys(daemons)].join(', ')
    throw new Error(`no part of the stack is called ${name}; there are ${known}`)
  }
  return part
}
