import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { cached } from '../process/cache.ts'
import { run } from '../process/run.ts'
import type { Cluster, ClusterOptions } from './cluster.ts'
import { kubeBinary } from './kube-binary.ts'

const name = 'millrace'
const kindModule = 'sigs.k8s.io/kind@v0.30.0'
const configFile = join(import.meta.dirname, '../kind.yaml')

/** True when a Docker daemon answers. */
export function dockerRuns(): Promise<boolean> {
  return succeeds(['docker', 'info'])
}

/** The cluster as kind makes it, in Docker. */
export function kindCluster(options: ClusterOptions): Cluster {
  const kubeconfig = join(options.dir, 'kubeconfig')
  const exists = async () => (await kind('get', 'clusters')).split('\n').includes(name)

  return {
    kind: 'kind',
    build: async () => {
      await kind('version')
    },
    prepare: async () => {
      // kind makes this network itself if it is not there, but then only with the cluster.
      if (!(await succeeds(['docker', 'network', 'inspect', 'kind']))) {
        await run(['docker', 'network', 'create', 'kind'])
      }
      const networks: { Subnet: string; Gateway?: string }[] = JSON.parse(
        await run(['docker', 'network', 'inspect', 'kind', '--format', '{{json .IPAM.Config}}']),
      )
      const network = networks.find(({ Subnet, Gateway }) => Gateway && !Subnet.includes(':'))
      if (!network?.Gateway) throw new Error('the Docker network kind has no IPv4 gateway')
      return { host: network.Gateway, networks: [network.Subnet] }
    },
    start: async () => {
      mkdirSync(options.dir, { recursive: true })
      if (!(await exists())) {
        const config = [`--name=${name}`, `--config=${configFile}`, `--kubeconfig=${kubeconfig}`]
        await kind('create', 'cluster', '--wait=120s', ...config)
      } else if (!existsSync(kubeconfig)) {
        await kind('export', 'kubeconfig', `--name=${name}`, `--kubeconfig=${kubeconfig}`)
      }
      const installed = await succeeds(['kubectl', 'version', '--client'])
      return { kubeconfig, kubectl: installed ? ['kubectl'] : [await kubeBinary(options.log), 'kubectl'] }
    },
    importImage: async (archive) => {
      await kind('load', 'image-archive', archive, `--name=${name}`)
    },
    stop: async () => {
      if (await exists()) await kind('delete', 'cluster', `--name=${name}`)
    },
    daemons: () => [],
    isUp: async () => existsSync(kubeconfig) && (await exists()),
  }
}

async function kind(...args: string[]): Promise<string> {
  const folder = await cached(`kind-${kindModule.split('@')[1]}`, async (to) => {
    await run(['go', 'install', kindModule], { env: { GOBIN: to, GOFLAGS: '-modcacherw' } })
  })
  return run([join(folder, 'kind'), ...args])
}

function succeeds(command: [string, ...string[]]): Promise<boolean> {
  return run(command).then(
    () => true,
    () => false,
  )
}
