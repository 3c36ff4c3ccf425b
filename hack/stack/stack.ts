import { bareCluster } from '../cluster/bare.ts'
import type { Cluster } from '../cluster/cluster.ts'
import { dockerRuns, kindCluster } from '../cluster/kind.ts'
import { recall, remembered } from '../process/remembered.ts'
import type { StackConfig } from './config.ts'
import type { StackPaths } from './paths.ts'

/** The cluster of a stack: in Docker where Docker ran when it was first started, without Docker elsewhere. */
export async function stackCluster(paths: StackPaths, log: (line: string) => void): Promise<Cluster> {
  const { kind } = await remembered(`${paths.state}/cluster.json`, async () => ({
    kind: (await dockerRuns()) ? 'kind' : 'bare',
  }))
  const options = { dir: paths.cluster, logDir: paths.state, log }
  return kind === 'kind' ? kindCluster(options) : bareCluster(options)
}

/** What the stack chose when it was started; undefined when it never was. */
export const stackConfig = (paths: StackPaths) => recall<StackConfig>(paths.configFile)
