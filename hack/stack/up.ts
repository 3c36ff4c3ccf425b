import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Cluster, ClusterAccess } from '../cluster/cluster.ts'
import { builtTag } from '../image/build.ts'
import { remembered } from '../process/remembered.ts'
import { kafkaJars } from '../services/kafka/jars.ts'
import { chooseConfig } from './config.ts'
import { prepareDatabases } from './databases.ts'
import { down } from './down.ts'
import { redshiftVariables, renderEnv, stackVariables } from './env-file.ts'
import { machineOwner, setMachineOwner } from './owner.ts'
import { pathsOfState, type StackPaths } from './paths.ts'
import { existingServices, startServices } from './services.ts'
import { stackCluster, stackConfig } from './stack.ts'

export interface UpOptions {
  /** Ends the stack of another checkout that is in the way, instead of refusing. */
  replace: boolean
  /** With the Redshift emulator. */
  redshift: boolean
  log: (line: string) => void
}

/**
 * Starts the stack, or what of it does not run, and waits until all of it answers. Fails when the stack of another
 * checkout runs and `replace` is not set, as there can be one on a machine.
 */
export async function up(paths: StackPaths, { replace, redshift, log }: UpOptions) {
  if (await isUp(paths, redshift, log)) {
    log('the stack is up already')
    return
  }
  // After a restart of the machine nothing runs, but folders and mounts are left.
  if (existsSync(paths.state) && !(await anyRuns(paths, log))) await down(paths, log)
  const cluster = await stackCluster(paths, log)
  // Before another stack has to go: the first time it takes minutes.
  await Promise.all([cluster.build(), kafkaJars()])
  if (cluster.kind === 'bare') await takeMachine(paths, replace, log)
  const podSide = await cluster.prepare()
  const config = await remembered(paths.configFile, () => chooseConfig(podSide))

  const began = Date.now()
  const [access, services] = await Promise.all([
    cluster.start(),
    startServices(config, paths.state, redshift).then(async (started) => {
      await prepareDatabases(started, config)
      return started
    }),
  ])
  await importImage(cluster, paths)
  writeKubectl(paths.kubectl, access)
  const image = builtTag(paths.imageArchive)
  const variables = {
    ...stackVariables(config, paths, access.kubeconfig, image),
    ...(services.redshift && redshiftVariables(services.redshift)),
  }
  writeFileSync(paths.envFile, renderEnv(variables), { mode: 0o600 })
  log(
    `the stack is up after ${Math.round((Date.now() - began) / 1000)} s; its addresses are in out/stack.env`,
  )
}

async function isUp(paths: StackPaths, redshift: boolean, log: (line: string) => void): Promise<boolean> {
  const config = stackConfig(paths)
  if (!config || !existsSync(paths.envFile)) return false
  const existing = await existingServices(config, paths.state)
  if (redshift && !existing.redshift) return false
  const services = Object.values(existing)
  const cluster = await stackCluster(paths, log)
  return services.every((service) => service.pid() !== undefined) && (await cluster.isUp())
}

/** Makes this the machine's stack, after ending another checkout's if that is allowed or nothing of it runs. */
async function takeMachine(paths: StackPaths, replace: boolean, log: (line: string) => void) {
  const owner = machineOwner()
  if (owner && owner !== paths.state && existsSync(owner)) {
    const other = pathsOfState(owner)
    if (!replace && (await anyRuns(other, log))) {
      throw new Error(`the stack of another checkout runs, with its state in ${owner}: take it down first`)
    }
    log(`ending the stack of another checkout, with its state in ${owner}`)
    await down(other, log)
  }
  setMachineOwner(paths.state)
}

async function anyRuns(paths: StackPaths, log: (line: string) => void): Promise<boolean> {
  const config = stackConfig(paths)
  const services = config ? Object.values(await existingServices(config, paths.state)) : []
  const cluster = await stackCluster(paths, log)
  return (
    services.some((service) => service.pid() !== undefined) ||
    cluster.daemons().some((part) => part.running())
  )
}

async function importImage(cluster: Cluster, paths: StackPaths) {
  if (existsSync(paths.imageArchive)) await cluster.importImage(paths.imageArchive)
}

/** Writes a kubectl that knows the cluster, for shells that have read no other settings. */
function writeKubectl(path: string, { kubeconfig, kubectl }: ClusterAccess) {
  mkdirSync(dirname(path), { recursive: true })
  const words = kubectl.map((word) => `'${word}'`).join(' ')
  writeFileSync(path, `#!/bin/sh\nKUBECONFIG="\${KUBECONFIG:-${kubeconfig}}" exec ${words} "$@"\n`)
  chmodSync(path, 0o755)
}
