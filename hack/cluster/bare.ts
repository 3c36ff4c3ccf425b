import { readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { makeControlGroup } from '../process/cgroups.ts'
import { type Daemon, daemon } from '../process/daemon.ts'
import { unmountBelow } from '../process/mounts.ts'
import { pickPort } from '../process/ports.ts'
import { remembered } from '../process/remembered.ts'
import { until } from '../process/wait.ts'
import { apiGet } from './api.ts'
import type { Cluster, ClusterAccess, ClusterOptions } from './cluster.ts'
import { type Containerd, containerd } from './containerd.ts'
import { type ControlPlaneHandle, startControlPlane } from './control-plane.ts'
import { controllerDaemons } from './controllers.ts'
import { kubeBinary, pauseBinary } from './kube-binary.ts'
import { tokens } from './kubeconfig.ts'
import { bridgeUp, hostAddress, networkDown, podNetwork } from './network.ts'
import { killPods, nodeDaemons, nodeName, podsControlGroup } from './node.ts'

/**
 * The cluster without Docker: Kubernetes' own components, built from their Go modules, and a containerd, as plain
 * processes of this machine. There can be one on a machine, because packet filter rules and pods' addresses are
 * shared by all of it. It needs root.
 */
export function bareCluster(options: ClusterOptions): Cluster {
  const { dir, logDir, log } = options
  const containers = () => containerd(join(dir, 'containerd'), join(logDir, 'containerd.log'))
  const foundDaemons = () =>
    [
      ['etcd', 'control-plane'],
      ['apiserver', 'control-plane'],
      ['controller-manager', 'control-plane'],
      ['scheduler', 'control-plane'],
      ['containerd', 'containerd'],
      ['kubelet', 'node'],
      ['proxy', 'node'],
    ].map(([name = '', folder = '']) => existing(name, join(dir, folder), logDir))

  return {
    kind: 'bare',
    build: async () => {
      await kubeBinary(log)
      await pauseBinary()
    },
    prepare: async () => {
      await bridgeUp()
      return { host: hostAddress, networks: [podNetwork] }
    },
    start: async () => {
      const kube = await kubeBinary(log)
      const ports = await remembered(join(dir, 'ports.json'), choosePorts)
      const runtime = containers()
      const [plane] = await Promise.all([
        startControlPlane({
          dir: join(dir, 'control-plane'),
          logDir,
          host: hostAddress,
          port: ports.apiserver,
          etcdPorts: [ports.etcd, ports.etcdPeer],
          lifetime: 'detached',
        }),
        runtime.start(),
      ])
      startRest({ kube, dir, logDir, plane, runtime, ports })
      await podsPossible(plane, join(dir, 'control-plane/tokens.csv'), foundDaemons())
      return { kubeconfig: plane.kubeconfig, kubectl: [kube, 'kubectl'] } satisfies ClusterAccess
    },
    importImage: (archive) => containers().importImage(archive),
    stop: () => stop(dir, foundDaemons(), containers),
    daemons: foundDaemons,
    isUp: async () => foundDaemons().every((part) => part.running()),
  }
}

async function choosePorts() {
  return {
    apiserver: await pickPort(26443, [hostAddress]),
    etcd: await pickPort(23790),
    etcdPeer: await pickPort(23800),
    kubelet: await pickPort(10250, [hostAddress]),
    proxyHealth: await pickPort(10256),
    proxyMetrics: await pickPort(10249),
  }
}

interface Parts {
  kube: string
  dir: string
  logDir: string
  plane: ControlPlaneHandle
  runtime: Containerd
  ports: Awaited<ReturnType<typeof choosePorts>>
}

function startRest({ kube, dir, logDir, plane, runtime, ports }: Parts) {
  const { kubeconfigs, certificates } = plane
  makeControlGroup(podsControlGroup)
  const controllers = controllerDaemons({
    kube,
    dir: join(dir, 'control-plane'),
    logDir,
    kubeconfigs,
    certificates,
  })
  const node = nodeDaemons({
    kube,
    dir: join(dir, 'node'),
    logDir,
    ca: certificates.ca,
    containerdSocket: runtime.socket,
    kubeconfigs,
    ports,
  })
  for (const part of [...Object.values(node), ...Object.values(controllers)]) {
    if (!part.running()) part.start()
  }
}

/** Waits until the node is ready and pods can get a service account. */
async function podsPossible(plane: ControlPlaneHandle, tokensFile: string, daemons: Daemon[]) {
  const api = {
    server: plane.server,
    ca: readFileSync(plane.certificates.ca, 'utf8'),
    token: tokens(tokensFile).admin,
  }
  const nodeReady = async () => {
    const { ok, body } = await apiGet(api, `/api/v1/nodes/${nodeName}`)
    const conditions: { type: string; status: string }[] = ok ? JSON.parse(body).status.conditions : []
    return conditions.some(({ type, status }) => type === 'Ready' && status === 'True')
  }
  const accountThere = async () =>
    (await apiGet(api, '/api/v1/namespaces/default/serviceaccounts/default')).ok
  await until(async () => (await nodeReady()) && (await accountThere()), {
    what: `node ${nodeName}`,
    timeoutMs: 90_000,
    intervalMs: 200,
    assertPossible: () => {
      for (const part of daemons) part.assertRunning()
    },
  })
}

/** A daemon that an earlier command has started, known by its pid file. */
function existing(name: string, dir: string, logDir: string): Daemon {
  const unknown: [string] = ['false']
  return daemon({
    name,
    dir,
    logFile: join(logDir, `${name}.log`),
    command: unknown,
    lifetime: 'detached',
    stopTimeoutMs: 5_000,
  })
}

async function stop(dir: string, daemons: Daemon[], containers: () => Containerd) {
  const byName = new Map(daemons.map((part) => [part.name, part]))
  // The kubelet goes first, or it would start killed pods again.
  for (const name of ['kubelet', 'proxy', 'controller-manager', 'scheduler']) await byName.get(name)?.kill9()
  await killPods()
  await containers().stop()
  await byName.get('apiserver')?.kill9()
  await byName.get('etcd')?.kill9()
  await unmountBelow(dir)
  await networkDown()
  removeLogLinks(dir)
  rmSync(dir, { recursive: true, force: true })
}

/** The kubelet links each pod's log from a folder that cannot be configured. */
function removeLogLinks(dir: string) {
  const folder = '/var/log/containers'
  try {
    for (const name of readdirSync(folder)) {
      if (readlinkSync(join(folder, name)).startsWith(`${dir}/`)) rmSync(join(folder, name))
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
