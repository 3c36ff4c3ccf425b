import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { removeControlGroup } from '../process/cgroups.ts'
import { type Daemon, daemon } from '../process/daemon.ts'
import { bridgeHidesPackets, hostAddress, podNetwork } from './network.ts'

export const nodeName = 'node1'
/** Control group that holds all pods, so that all of them can be found and killed. */
export const podsControlGroup = 'millrace'

export interface NodeOptions {
  kube: string
  /** Folder of the kubelet. */
  dir: string
  logDir: string
  /** Certificate authority that the API server's client certificate is checked against. */
  ca: string
  containerdSocket: string
  kubeconfigs: { kubelet: string; proxy: string }
  ports: { kubelet: number; proxyHealth: number; proxyMetrics: number }
}

/** Describes the kubelet and kube-proxy of the only node. */
export function nodeDaemons(options: NodeOptions): { kubelet: Daemon; proxy: Daemon } {
  const { kube, dir, logDir, kubeconfigs, ports } = options
  mkdirSync(dir, { recursive: true })
  const configFile = join(dir, 'config.json')
  writeFileSync(configFile, renderKubeletConfig(options))
  const kubelet = daemon({
    name: 'kubelet',
    dir,
    logFile: join(logDir, 'kubelet.log'),
    lifetime: 'detached',
    command: [
      kube,
      'kubelet',
      `--kubeconfig=${kubeconfigs.kubelet}`,
      `--config=${configFile}`,
      `--root-dir=${join(dir, 'root')}`,
      `--cert-dir=${join(dir, 'pki')}`,
      `--hostname-override=${nodeName}`,
      `--node-ip=${hostAddress}`,
    ],
  })
  const proxy = daemon({
    name: 'proxy',
    dir,
    logFile: join(logDir, 'proxy.log'),
    lifetime: 'detached',
    command: [
      kube,
      'proxy',
      `--kubeconfig=${kubeconfigs.proxy}`,
      `--hostname-override=${nodeName}`,
      `--cluster-cidr=${podNetwork}`,
      '--proxy-mode=iptables',
      // A pod's answer to another pod would go past the address translation where the bridge hides it.
      `--masquerade-all=${bridgeHidesPackets()}`,
      `--healthz-bind-address=127.0.0.1:${ports.proxyHealth}`,
      `--metrics-bind-address=127.0.0.1:${ports.proxyMetrics}`,
      // The machine's limits of tracked connections are not the cluster's to change.
      '--conntrack-max-per-core=0',
      '--conntrack-tcp-timeout-established=0s',
      '--conntrack-tcp-timeout-close-wait=0s',
    ],
  })
  return { kubelet, proxy }
}

/** Renders the kubelet's configuration. */
export function renderKubeletConfig({ dir, ca, containerdSocket, ports }: NodeOptions): string {
  const config = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: hostAddress,
    port: ports.kubelet,
    healthzPort: 0,
    readOnlyPort: 0,
    containerRuntimeEndpoint: `unix://${containerdSocket}`,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${podsControlGroup}`,
    enforceNodeAllocatable: [],
    failSwapOn: false,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: ca },
    },
    authorization: { mode: 'Webhook' },
    podLogsDir: join(dir, 'pod-logs'),
    volumePluginDir: join(dir, 'volume-plugins'),
    containerLogMaxSize: '10Mi',
    containerLogMaxFiles: 2,
    // Images cannot be pulled again, so none is removed to win space before the disk is really full.
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    evictionHard: { 'nodefs.available': '1%', 'imagefs.available': '1%', 'memory.available': '100Mi' },
    maxPods: 200,
    registryPullQPS: 0,
    logging: { verbosity: 1 },
  }
  return `${JSON.stringify(config, null, 2)}\n`
}

/** Kills all pods there are. */
export const killPods = () => removeControlGroup(podsControlGroup)
