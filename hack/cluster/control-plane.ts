import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Daemon, daemon, type Lifetime } from '../process/daemon.ts'
import { freePort } from '../process/ports.ts'
import { until } from '../process/wait.ts'
import { apiGet } from './api.ts'
import { type Certificates, certificates } from './certificates.ts'
import { kubeBinary } from './kube-binary.ts'
import { renderKubeconfig, tokens, type UserKey, users } from './kubeconfig.ts'

export const serviceNetwork = '10.96.0.0/16'
const serviceAddress = '10.96.0.1'

export interface ControlPlaneOptions {
  /** Folder for data, certificates, kubeconfigs, pid files and logs. */
  dir: string
  /** Address of the API server. One that pods can reach, if there are to be pods. Default: loopback. */
  host?: string
  /** Port of the API server. Default: a free one. */
  port?: number
  /** Ports of etcd for clients and for other members. Default: free ones. */
  etcdPorts?: readonly [number, number]
  lifetime?: Lifetime
  /** Folder for logs. Default: `dir`. */
  logDir?: string
  /** Gets progress when Kubernetes has to be built first. */
  log?: (line: string) => void
}

export interface ControlPlaneHandle {
  server: string
  /** The administrator's kubeconfig. */
  kubeconfig: string
  /** Kubeconfig files by user. */
  kubeconfigs: Record<UserKey, string>
  certificates: Certificates
  etcd: Daemon
  apiserver: Daemon
  stop(): Promise<void>
}

/**
 * Starts etcd and the API server and waits until it is ready: about 3 s when it is built already. There are no
 * controllers: nothing makes pods from a Deployment, deletes dependents or fills in service account tokens.
 */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlaneHandle> {
  const { dir, lifetime = 'bound', logDir = dir } = options
  mkdirSync(dir, { recursive: true })
  const host = options.host ?? '127.0.0.1'
  const port = options.port ?? (await freePort(host))
  const server = `https://${host}:${port}`
  const kube = await kubeBinary(options.log ?? (() => {}))
  const certs = await certificates(join(dir, 'pki'), ['127.0.0.1', host, serviceAddress])
  const kubeconfigs = writeKubeconfigs(dir, server, certs)

  const [etcdPort, peerPort] = options.etcdPorts ?? [await freePort(), await freePort()]
  const common = { dir, lifetime, orphanSignal: 'SIGKILL' as const }
  const etcd = daemon({
    ...common,
    name: 'etcd',
    logFile: join(logDir, 'etcd.log'),
    command: [kube, 'etcd', ...etcdFlags(join(dir, 'etcd'), etcdPort, peerPort)],
  })
  const apiserver = daemon({
    ...common,
    name: 'apiserver',
    logFile: join(logDir, 'apiserver.log'),
    command: [kube, 'apiserver', ...apiserverFlags({ dir, host, port, etcdPort, certs })],
    // In-flight watches would hold an orderly end up for a minute.
    stopTimeoutMs: 3_000,
  })
  for (const part of [etcd, apiserver]) if (!part.running()) part.start()
  const ca = readFileSync(certs.ca, 'utf8')
  await until(async () => (await apiGet({ server, ca }, '/readyz')).ok, {
    what: `the API server on ${server}`,
    timeoutMs: 90_000,
    assertPossible: () => {
      etcd.assertRunning()
      apiserver.assertRunning()
    },
  })
  const stop = async () => {
    await apiserver.stop()
    await etcd.stop()
  }
  return { server, kubeconfig: kubeconfigs.admin, kubeconfigs, certificates: certs, etcd, apiserver, stop }
}

function writeKubeconfigs(dir: string, server: string, certs: Certificates): Record<UserKey, string> {
  const ca = readFileSync(certs.ca, 'utf8')
  const token = tokens(join(dir, 'tokens.csv'))
  const keys = Object.keys(users) as UserKey[]
  const entries = keys.map((user) => {
    const path = join(dir, user === 'admin' ? 'kubeconfig' : `${user}.kubeconfig`)
    writeFileSync(path, renderKubeconfig({ server, ca, token: token[user] }), { mode: 0o600 })
    return [user, path]
  })
  return Object.fromEntries(entries) as Record<UserKey, string>
}

function etcdFlags(dataDir: string, port: number, peerPort: number): string[] {
  const client = `http://127.0.0.1:${port}`
  const peer = `http://127.0.0.1:${peerPort}`
  return [
    `--data-dir=${dataDir}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    '--unsafe-no-fsync',
    '--log-level=warn',
  ]
}

interface ApiserverOptions {
  dir: string
  host: string
  port: number
  etcdPort: number
  certs: Certificates
}

function apiserverFlags({ dir, host, port, etcdPort, certs }: ApiserverOptions): string[] {
  // The Service `kubernetes` cannot lead to a loopback address, and without pods nobody needs it.
  const endpoint = host.startsWith('127.')
    ? ['--endpoint-reconciler-type=none']
    : ['--endpoint-reconciler-type=master-count', `--advertise-address=${host}`]
  return [
    `--etcd-servers=http://127.0.0.1:${etcdPort}`,
    `--bind-address=${host}`,
    `--secure-port=${port}`,
    ...endpoint,
    `--tls-cert-file=${certs.serverCert}`,
    `--tls-private-key-file=${certs.serverKey}`,
    `--client-ca-file=${certs.ca}`,
    `--kubelet-client-certificate=${certs.clientCert}`,
    `--kubelet-client-key=${certs.clientKey}`,
    '--kubelet-preferred-address-types=InternalIP',
    `--service-account-key-file=${certs.serviceAccountKey}`,
    `--service-account-signing-key-file=${certs.serviceAccountKey}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    `--token-auth-file=${join(dir, 'tokens.csv')}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    `--service-cluster-ip-range=${serviceNetwork}`,
    '--allow-privileged=true',
    '--profiling=false',
  ]
}
