import { join } from 'node:path'
import { type Daemon, daemon, type Lifetime } from '../process/daemon.ts'
import type { Certificates } from './certificates.ts'

export interface ControllersOptions {
  kube: string
  dir: string
  logDir: string
  kubeconfigs: { 'controller-manager': string; scheduler: string }
  certificates: Certificates
  /** Default: detached. */
  lifetime?: Lifetime
}

/** Describes the controller manager and the scheduler, the only ones of their kind and so without an election. */
export function controllerDaemons(options: ControllersOptions): {
  controllerManager: Daemon
  scheduler: Daemon
} {
  const { kube, dir, logDir, kubeconfigs, certificates } = options
  const common = { dir, lifetime: options.lifetime ?? ('detached' as const) }
  const controllerManager = daemon({
    ...common,
    name: 'controller-manager',
    logFile: join(logDir, 'controller-manager.log'),
    command: [
      kube,
      'controller-manager',
      `--kubeconfig=${kubeconfigs['controller-manager']}`,
      `--service-account-private-key-file=${certificates.serviceAccountKey}`,
      `--root-ca-file=${certificates.ca}`,
      '--use-service-account-credentials',
      '--leader-elect=false',
      '--secure-port=0',
    ],
  })
  const scheduler = daemon({
    ...common,
    name: 'scheduler',
    logFile: join(logDir, 'scheduler.log'),
    command: [
      kube,
      'scheduler',
      `--kubeconfig=${kubeconfigs.scheduler}`,
      '--leader-elect=false',
      '--secure-port=0',
    ],
  })
  return { controllerManager, scheduler }
}
