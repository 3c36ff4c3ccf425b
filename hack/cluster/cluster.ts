import type { Daemon } from '../process/daemon.ts'

export interface ClusterOptions {
  /** Folder for all that the cluster keeps. */
  dir: string
  logDir: string
  log: (line: string) => void
}

/** A local Kubernetes cluster of one node, by whatever means this machine allows. */
export interface Cluster {
  kind: 'bare' | 'kind'
  /** Builds the programs it needs, where they are not in the cache. Nothing is started. */
  build(): Promise<void>
  /** Makes what the other services need first, and returns how pods reach the host. */
  prepare(): Promise<PodSide>
  /** Starts it, or what of it does not run, and waits until pods can be made. */
  start(): Promise<ClusterAccess>
  /** Makes an image archive known to the node. */
  importImage(archive: string): Promise<void>
  /** Removes it with all that runs in it. No-op when there is none. */
  stop(): Promise<void>
  /** The processes of it, as far as they are this machine's own. */
  daemons(): Daemon[]
  /** True when all of it runs. */
  isUp(): Promise<boolean>
}

export interface PodSide {
  /** Address of the host as pods see it. */
  host: string
  /** Networks, as CIDR, that pods' connections come from. */
  networks: string[]
}

export interface ClusterAccess {
  kubeconfig: string
  /** A kubectl of the right version, as words of a shell command. */
  kubectl: string[]
}
