import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../process/run.ts'

export const networkName = 'millrace'
export const bridge = 'millrace0'
export const podNetwork = '10.244.0.0/24'
/** The bridge's own address: what pods reach on the host, and where the host's services listen for them. */
export const hostAddress = '10.244.0.1'

/** Makes the bridge of the pods, if it is not there, and lets the kernel pass packets between pods and outside. */
export async function bridgeUp() {
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1')
  if (!(await bridgeExists())) {
    await run(['ip', 'link', 'add', bridge, 'type', 'bridge'])
    await run(['ip', 'addr', 'add', `${hostAddress}/24`, 'dev', bridge])
  }
  await run(['ip', 'link', 'set', bridge, 'up'])
}

/** Removes the bridge, and the packet filter rules and records of addresses that the cluster has made. */
export async function networkDown() {
  if (await bridgeExists()) await run(['ip', 'link', 'delete', bridge])
  removeResults()
  for (const table of ['nat', 'filter', 'mangle']) await removeRules(table)
}

/** True when the kernel does not show packets between two pods to the packet filter. */
export function bridgeHidesPackets(): boolean {
  try {
    return readFileSync('/proc/sys/net/bridge/bridge-nf-call-iptables', 'utf8').trim() !== '1'
  } catch {
    return true
  }
}

async function bridgeExists(): Promise<boolean> {
  return run(['ip', 'link', 'show', bridge]).then(
    () => true,
    () => false,
  )
}

async function removeRules(table: string) {
  const saved = await run(['iptables-save', '--table', table]).catch(() => '')
  for (const args of removalCommands(saved)) await run(['iptables', '--wait', '--table', table, ...args])
}

/** containerd keeps what the plugins answered in a folder that cannot be configured. */
function removeResults() {
  const folder = '/var/lib/cni/results'
  const names = existsSync(folder) ? readdirSync(folder) : []
  for (const name of ownResults(names)) rmSync(join(folder, name))
}

/** Of the names of such records, those of the pods on the stack's network. */
export function ownResults(names: readonly string[]): string[] {
  const pods = names.flatMap((name) => new RegExp(`^${networkName}-(\\w+)-`).exec(name)?.[1] ?? [])
  return names.filter((name) => pods.some((pod) => name.includes(`-${pod}-`)))
}

const ownChain = /^(KUBE-|CNI-)/

/**
 * Arguments of the iptables calls that remove what kubelet, kube-proxy and the CNI plugins have made, from what
 * iptables-save prints of one table. Rules of others stay.
 */
export function removalCommands(saved: string): string[][] {
  const lines = saved.split('\n')
  const chains = lines
    .flatMap((line) => /^:(\S+)/.exec(line)?.[1] ?? [])
    .filter((chain) => ownChain.test(chain))
  const jumps = lines.filter((line) => {
    const [, chain = '', target = ''] = /^-A (\S+) .*-j (\S+)/.exec(line) ?? []
    return ownChain.test(target) && !ownChain.test(chain)
  })
  return [
    ...jumps.map((line) => ['-D', ...words(line).slice(1)]),
    ...chains.map((chain) => ['-F', chain]),
    ...chains.map((chain) => ['-X', chain]),
  ]
}

/** Splits a rule as iptables-save prints it: words, or text in double quotes. */
function words(line: string): string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, plain]) =>
    quoted === undefined ? (plain ?? '') : quoted.replaceAll(/\\(.)/g, '$1'),
  )
}
