import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { ownedTempDir } from '../../hack/process/temp-dir.ts'
import { startControlPlane } from '../../hack/services/control-plane.ts'
import { startKafka } from '../../hack/services/kafka.ts'
import { startPostgres, startPrimary, startReplica } from '../../hack/services/postgres.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Superuser of the source's primary. */
    sourceUrl: string
    /** Superuser of its streaming replica. */
    replicaUrl: string
    /** Superuser of the destination. */
    destUrl: string
    /** `host:port` of the broker. */
    kafkaBrokers: string
    /** Administrator's kubeconfig of an API server without controllers. */
    kubeconfig: string
    /** Temporary folder of the run, removed at its end. */
    runDir: string
  }
}

/** Runs once a service when it is no longer needed. */
type Stop = () => Promise<void>

const names = ['postgres', 'kafka', 'kubernetes'] as const
type Service = (typeof names)[number]

/**
 * Starts the servers that integration tests share and removes them afterwards. They end with this process too, should
 * it be killed.
 *
 * TEST_SERVICES, a comma-separated part of `postgres,kafka,kubernetes`, starts only those: a single test file is
 * ready sooner when it does not wait for what it does not use.
 */
export default async function setup(project: TestProject) {
  const wanted = wantedServices(process.env.TEST_SERVICES)
  const dir = ownedTempDir()
  project.provide('runDir', dir)
  const start: Record<Service, (project: TestProject, dir: string) => Promise<Stop>> = {
    postgres: postgres,
    kafka: kafka,
    kubernetes: kubernetes,
  }
  const results = await Promise.allSettled(wanted.map((name) => start[name](project, dir)))
  const stops = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []))
  const teardown = async () => {
    await Promise.allSettled(stops.map((stop) => stop()))
    rmSync(dir, { recursive: true, force: true })
  }
  const failure = results.find((result) => result.status === 'rejected')
  if (failure) {
    await teardown()
    throw failure.reason
  }
  return teardown
}

function wantedServices(listed: string | undefined): Service[] {
  if (!listed) return [...names]
  const asked = listed.split(',')
  const unknown = asked.filter((name) => !names.some((known) => known === name))
  if (unknown.length > 0) throw new Error(`TEST_SERVICES: unknown ${unknown.join(', ')}`)
  return names.filter((name) => asked.includes(name))
}

async function postgres(project: TestProject, dir: string): Promise<Stop> {
  const [source, destination] = await Promise.all([
    startPrimary({ dir: join(dir, 'source'), name: 'source' }),
    startPostgres({ dir: join(dir, 'destination'), name: 'destination' }),
  ])
  const replica = await startReplica(source, { dir: join(dir, 'replica') })
  project.provide('sourceUrl', source.url)
  project.provide('replicaUrl', replica.url)
  project.provide('destUrl', destination.url)
  return async () => {
    await Promise.all([replica, source, destination].map((server) => server.stop('immediate')))
  }
}

async function kafka(project: TestProject, dir: string): Promise<Stop> {
  const broker = await startKafka({ dir: join(dir, 'kafka') })
  project.provide('kafkaBrokers', broker.bootstrap)
  return broker.kill9
}

async function kubernetes(project: TestProject, dir: string): Promise<Stop> {
  const controlPlane = await startControlPlane({ dir: join(dir, 'kubernetes'), log: console.log })
  project.provide('kubeconfig', controlPlane.kubeconfig)
  return controlPlane.stop
}
