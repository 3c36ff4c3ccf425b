import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startControlPlane } from '../../hack/cluster/control-plane.ts'
import { controllerDaemons } from '../../hack/cluster/controllers.ts'
import { kubeBinary } from '../../hack/cluster/kube-binary.ts'
import { installCustomResources, installRoles } from '../../hack/demo/install.ts'
import { type Cluster, connectCluster } from '../../hack/demo/kube.ts'
import { daemon } from '../../hack/process/daemon.ts'
import {
  COMPILE_CACHE,
  type ProcessKubelet,
  type ProcessKubeletOptions,
  startProcessKubelet,
} from './kubelet.ts'
import { type Network, startNetwork } from './network.ts'

/** A cluster whose pods are processes of this checkout, and the operator as one more process. */
export interface LocalCluster {
  readonly cluster: Cluster
  readonly kubelet: ProcessKubelet
  readonly kubeconfig: string
  /** Between pods and the API server. */
  readonly network: Network
  readonly operator: { kill9(): Promise<void>; start(): void; readonly logFile: string }
  stop(): Promise<void>
}

/** How its pods run. */
export interface PodOptions extends Pick<ProcessKubeletOptions, 'secretRefresh' | 'impatientJobs'> {
  /** More environment for the processes of pods, by namespace and labels, each time that one starts. */
  readonly environment?: (
    labels: Readonly<Record<string, string>>,
    namespace: string,
  ) => Readonly<Record<string, string>>
  /** More environment for the operator. */
  readonly operator?: Readonly<Record<string, string>>
}

const OPERATOR_NAMESPACE = 'millrace-system'

/**
 * Starts API server, etcd, the real controllers, a kubelet for processes, and the operator from the sources. About 8 s.
 */
export async function startLocalCluster(dir: string, pods: PodOptions = {}): Promise<LocalCluster> {
  await mkdir(dir, { recursive: true })
  const plane = await startControlPlane({ dir: join(dir, 'control-plane') })
  const { controllerManager } = controllerDaemons({
    kube: await kubeBinary(() => {}),
    dir,
    logDir: dir,
    kubeconfigs: plane.kubeconfigs,
    certificates: plane.certificates,
    lifetime: 'bound',
  })
  controllerManager.start()
  const cluster = await connectCluster(plane.kubeconfig)
  await installCustomResources(cluster)
  await installRoles(cluster)
  const { hostname, port } = new URL(plane.server)
  const network = await startNetwork(hostname, Number(port))
  const kubelet = await startProcessKubelet({
    transport: cluster.transport,
    server: `https://127.0.0.1:${network.port}`,
    caFile: plane.certificates.ca,
    dir,
    checkout: process.cwd(),
    ...pods,
    environment: ({ labels, namespace }) => pods.environment?.(labels ?? {}, namespace) ?? {},
  })
  const operator = daemon({
    name: 'operator',
    dir,
    logFile: join(dir, 'operator.log'),
    lifetime: 'bound',
    cwd: process.cwd(),
    command: [process.execPath, 'operator/main.ts'],
    env: {
      POD_NAMESPACE: OPERATOR_NAMESPACE,
      POD_NAME: 'operator-0',
      MILLRACE_WORKER_IMAGE: 'from-the-checkout',
      MILLRACE_KUBECONFIG: plane.kubeconfig,
      KUBECONFIG: plane.kubeconfig,
      MILLRACE_PORT: '0',
      NODE_COMPILE_CACHE: COMPILE_CACHE,
      ...pods.operator,
    },
  })
  operator.start()
  let stopped = false
  void keepAlive()

  // What the kubelet does for a Deployment's pod: the operator is started again when it dies.
  async function keepAlive(): Promise<void> {
    while (!stopped) {
      await sleep(500)
      if (!stopped && !operator.running()) operator.start()
    }
  }

  return {
    cluster,
    kubelet,
    kubeconfig: plane.kubeconfig,
    network,
    operator,
    async stop() {
      stopped = true
      await kubelet.stop()
      await operator.kill9()
      await controllerManager.kill9()
      cluster.close()
      await network.close()
      await plane.stop()
    },
  }
}
