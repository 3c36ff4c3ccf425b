import { existsSync, rmSync } from 'node:fs'
import { unmountBelow } from '../process/mounts.ts'
import { leaveMachine } from './owner.ts'
import type { StackPaths } from './paths.ts'
import { existingServices } from './services.ts'
import { stackCluster, stackConfig } from './stack.ts'

/** Ends the stack and removes all that it has made, data included. No-op when there is none. */
export async function down(paths: StackPaths, log: (line: string) => void) {
  if (!existsSync(paths.state)) {
    log('the stack is down')
    return
  }
  const config = stackConfig(paths)
  const services = config ? Object.values(await existingServices(config, paths.state)) : []
  const cluster = await stackCluster(paths, log)
  // The data goes too, so there is nothing to end in order for.
  await Promise.all([cluster.stop(), ...services.map((service) => service.kill9())])
  await unmountBelow(paths.state)
  for (const path of [paths.state, paths.envFile, paths.kubectl]) {
    rmSync(path, { recursive: true, force: true })
  }
  leaveMachine(paths.state)
  log('the stack is down, and its data is removed')
}
