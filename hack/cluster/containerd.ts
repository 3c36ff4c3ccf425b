import { mkdirSync, readFileSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { layerOf, writeArchive } from '../image/archive.ts'
import { type Daemon, daemon, endAll } from '../process/daemon.ts'
import { processesMatching } from '../process/procfs.ts'
import { run } from '../process/run.ts'
import { until } from '../process/wait.ts'
import { pauseBinary } from './kube-binary.ts'
import { bridge, networkName, podNetwork } from './network.ts'

const pauseImage = 'millrace.local/pause:1'
const cniPlugins = '/usr/lib/cni'
/** Longest path of a socket that the kernel takes, less what containerd adds. */
const MAX_SOCKET_PATH = 100

export interface Containerd {
  socket: string
  daemon: Daemon
  /** Starts it and waits until it takes calls and has the image of pods' sandboxes. */
  start(): Promise<void>
  /** Makes an image archive known to the cluster. */
  importImage(archive: string): Promise<void>
  /** Ends it and what supervises its containers. The containers must have ended before. */
  stop(): Promise<void>
}

/**
 * Describes a containerd of the stack's own: its configuration, images, state and socket lie in `dir`, and the
 * system's own containerd, should there be one, is not touched.
 */
export function containerd(dir: string, logFile: string): Containerd {
  const socket = join(dir, 'containerd.sock')
  if (socket.length > MAX_SOCKET_PATH) {
    throw new Error(`the path of this checkout is too long for a socket below it: ${socket}`)
  }
  const snapshotter = snapshotterFor(dir)
  const configFile = join(dir, 'config.toml')
  const service = daemon({
    name: 'containerd',
    command: ['containerd', '--config', configFile, '--log-level', 'warn'],
    dir,
    logFile,
    lifetime: 'detached',
  })
  const ctr = (...args: string[]) => run(['ctr', '--address', socket, '--namespace', 'k8s.io', ...args])
  const importImage = async (archive: string) => {
    await ctr('images', 'import', '--snapshotter', snapshotter, archive)
  }

  const start = async () => {
    mkdirSync(join(dir, 'cni'), { recursive: true })
    writeFileSync(configFile, renderConfig({ dir, socket, snapshotter }))
    writeFileSync(join(dir, 'cni/10-millrace.conflist'), renderCni(join(dir, 'cni-addresses')))
    if (!service.running()) service.start()
    const what = 'containerd'
    await until(() => ctr('version'), { what, timeoutMs: 30_000, assertPossible: service.assertRunning })
    const images = await ctr('images', 'list', '--quiet')
    if (!images.includes(pauseImage)) await importImage(await pauseArchive(dir))
  }

  const stop = async () => {
    await service.stop()
    // A container's supervisor outlives containerd, by design.
    await endAll(processesMatching(['containerd-shim', socket]), "containerd's supervisors")
  }
  return { socket, daemon: service, start, importImage, stop }
}

/** Overlay file systems cannot be stacked on each other; where the state lies on one, images are copied instead. */
function snapshotterFor(dir: string): string {
  const OVERLAYFS_MAGIC = 0x794c7630
  mkdirSync(dir, { recursive: true })
  return statfsSync(dir).type === OVERLAYFS_MAGIC ? 'native' : 'overlayfs'
}

async function pauseArchive(dir: string): Promise<string> {
  const content = readFileSync(await pauseBinary())
  const layer = layerOf([{ type: 'file', path: 'pause', mode: 0o755, content }])
  const archive = join(dir, 'pause.tar')
  const config = { entrypoint: ['/pause'], env: [], user: '65535:65535', workingDir: '/' }
  writeArchive(archive, [pauseImage], config, [layer])
  return archive
}

/** Renders containerd's configuration, version 2, which containerd 1.6 and later read. */
export function renderConfig(options: { dir: string; socket: string; snapshotter: string }): string {
  const { dir, socket, snapshotter } = options
  return `version = 2
root = "${dir}/root"
state = "${dir}/state"

[grpc]
address = "${socket}"

[ttrpc]
address = "${socket}.ttrpc"

[plugins."io.containerd.internal.v1.opt"]
path = "${dir}/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "${pauseImage}"
# Without CAP_SYS_RESOURCE no process may lower its score, and no pod would start.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
stream_server_address = "127.0.0.1"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "${snapshotter}"
discard_unpacked_layers = true

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "${dir}/runc"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "${cniPlugins}"
conf_dir = "${dir}/cni"
`
}

/** Renders the pods' network: one bridge, addresses handed out from files below `addressDir`. */
export function renderCni(addressDir: string): string {
  const plugin = {
    type: 'bridge',
    bridge,
    isGateway: true,
    ipMasq: true,
    // A pod may reach itself by its Service.
    hairpinMode: true,
    ipam: {
      type: 'host-local',
      ranges: [[{ subnet: podNetwork }]],
      routes: [{ dst: '0.0.0.0/0' }],
      dataDir: addressDir,
    },
  }
  return `${JSON.stringify({ cniVersion: '0.4.0', name: networkName, plugins: [plugin] }, null, 2)}\n`
}
