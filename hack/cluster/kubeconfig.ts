import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'

/** The users of the cluster, by the names that Kubernetes' own roles are bound to. */
export const users = {
  admin: { name: 'admin', group: 'system:masters' },
  'controller-manager': { name: 'system:kube-controller-manager', group: '' },
  scheduler: { name: 'system:kube-scheduler', group: '' },
  proxy: { name: 'system:kube-proxy', group: '' },
  kubelet: { name: 'system:node:node1', group: 'system:nodes' },
} as const

export type UserKey = keyof typeof users

/** Renders a token file of the API server; `token` is called once for each user. */
export function renderTokens(token: () => string): string {
  return Object.values(users)
    .map(({ name, group }) => `${token()},${name},${name}${group ? `,"${group}"` : ''}\n`)
    .join('')
}

/** Reads the users' tokens, after having made the file if there was none. */
export function tokens(path: string): Record<UserKey, string> {
  if (!existsSync(path)) {
    writeFileSync(
      path,
      renderTokens(() => randomBytes(24).toString('hex')),
      { mode: 0o600 },
    )
  }
  const lines = readFileSync(path, 'utf8').trim().split('\n')
  const byName = new Map(lines.map((line) => [line.split(',')[1], line.split(',')[0] ?? '']))
  const entries = Object.entries(users).map(([key, { name }]) => [key, byName.get(name) ?? ''])
  return Object.fromEntries(entries) as Record<UserKey, string>
}

export interface KubeconfigOptions {
  server: string
  /** The certificate authority, PEM. */
  ca: string
  token: string
}

/** Renders a kubeconfig that needs no other file. */
export function renderKubeconfig({ server, ca, token }: KubeconfigOptions): string {
  return `apiVersion: v1
kind: Config
clusters:
- name: millrace
  cluster:
    server: ${server}
    certificate-authority-data: ${Buffer.from(ca).toString('base64')}
users:
- name: millrace
  user:
    token: ${token}
contexts:
- name: millrace
  context:
    cluster: millrace
    user: millrace
    namespace: default
current-context: millrace
`
}
