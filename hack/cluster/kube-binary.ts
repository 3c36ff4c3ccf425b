import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { cached, contentHash } from '../process/cache.ts'
import { run } from '../process/run.ts'

const source = join(import.meta.dirname, 'kube')
const packagesFile = join(import.meta.dirname, 'kube/go.mod')

/** Version of Kubernetes that go.mod names. */
export function kubernetesVersion(): string {
  const version = /k8s\.io\/kubernetes (v[\d.]+)/.exec(readFileSync(packagesFile, 'utf8'))?.[1]
  if (!version) throw new Error('hack/cluster/kube/go.mod names no version of k8s.io/kubernetes')
  return version
}

/**
 * Path of the binary with all Kubernetes components and etcd. Built from the Go modules the first time: about eight
 * minutes on two cores, during which `log` gets a line now and then. Later calls return at once.
 */
export async function kubeBinary(log: (line: string) => void): Promise<string> {
  const version = kubernetesVersion()
  const files = ['main.go', 'go.mod', 'go.sum'].map((name) => join(source, name))
  const folder = await cached(`kube-${contentHash(files, [process.arch])}`, (to) =>
    build(version, join(to, 'kube'), log),
  )
  return join(folder, 'kube')
}

/** Path of the program that pods' sandboxes run. */
export async function pauseBinary(): Promise<string> {
  const pause = join(import.meta.dirname, 'pause')
  const files = ['main.go', 'go.mod'].map((name) => join(pause, name))
  const folder = await cached(`pause-${contentHash(files, [process.arch])}`, async (to) => {
    await run(['go', 'build', '-trimpath', '-ldflags=-s -w', '-o', join(to, 'pause'), '.'], {
      cwd: pause,
      env: { CGO_ENABLED: '0' },
    })
  })
  return join(folder, 'pause')
}

async function build(version: string, target: string, log: (line: string) => void) {
  const [major, minor] = version.slice(1).split('.')
  const stamp = 'k8s.io/component-base/version'
  const ldflags = [
    '-s -w',
    `-X ${stamp}.gitVersion=${version}`,
    `-X ${stamp}.gitMajor=${major}`,
    `-X ${stamp}.gitMinor=${minor}`,
  ].join(' ')
  log(`building Kubernetes ${version} from its Go modules: about 8 minutes the first time`)
  const total = (await run(['go', 'list', '-deps', '.'], { cwd: source })).split('\n').length
  const child = spawn('go', ['build', '-v', '-trimpath', `-ldflags=${ldflags}`, '-o', target, '.'], {
    cwd: source,
    env: { ...process.env, CGO_ENABLED: '0' },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const lines: string[] = []
  const timer = setInterval(() => log(`  ${lines.length} of ${total} packages`), 15_000)
  try {
    createInterface({ input: child.stderr }).on('line', (line) => lines.push(line))
    const [code] = await once(child, 'close')
    if (code !== 0) throw new Error(`go build failed:\n${lines.slice(-15).join('\n')}`)
  } finally {
    clearInterval(timer)
  }
  writeFileSync(`${target}.version`, version)
}
