import { installOperator } from '../../hack/demo/install.ts'
import { connectCluster } from '../../hack/demo/kube.ts'
import { readStackEnv } from '../../hack/demo/stack-env.ts'

/** Installs the operator of this checkout into the running local stack. */
export default async function setup(): Promise<void> {
  const env = await readStackEnv()
  const cluster = await connectCluster(env.KUBECONFIG)
  try {
    await installOperator(env, cluster)
  } finally {
    cluster.close()
  }
}
