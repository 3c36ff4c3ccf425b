import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { renderCni, renderConfig } from './containerd.ts'
import { renderKubeconfig, renderTokens } from './kubeconfig.ts'
import { renderKubeletConfig } from './node.ts'

describe('renderKubeconfig', () => {
  it('needs no other file', () => {
    const config = parse(renderKubeconfig({ server: 'https://10.0.0.1:6443', ca: 'PEM', token: 't' }))
    expect(config.clusters[0].cluster).toEqual({
      server: 'https://10.0.0.1:6443',
      'certificate-authority-data': Buffer.from('PEM').toString('base64'),
    })
    expect(config['current-context']).toBe(config.contexts[0].name)
  })
})

it('gives each user a token of its own and the groups that Kubernetes expects', () => {
  let count = 0
  const lines = renderTokens(() => `t${count++}`).split('\n')
  expect(lines).toContain('t0,admin,admin,"system:masters"')
  expect(lines).toContain('t4,system:node:node1,system:node:node1,"system:nodes"')
})

describe('configuration of the node', () => {
  it('keeps all of containerd in one folder', () => {
    const config = renderConfig({ dir: '/state', socket: '/state/c.sock', snapshotter: 'native' })
    const paths = [...config.matchAll(/"(\/[^"]*)"/g)].map(([, path]) => path)
    expect(paths.filter((path) => !path?.startsWith('/state'))).toEqual(['/usr/lib/cni'])
  })

  it('keeps handed out addresses there too', () => {
    expect(JSON.parse(renderCni('/state/addresses')).plugins[0].ipam.dataDir).toBe('/state/addresses')
  })

  it('lets nobody talk to the kubelet without a certificate or a token', () => {
    const config = JSON.parse(
      renderKubeletConfig({
        kube: '/kube',
        dir: '/state',
        logDir: '/state',
        ca: '/state/ca.crt',
        containerdSocket: '/state/c.sock',
        kubeconfigs: { kubelet: '', proxy: '' },
        ports: { kubelet: 1, proxyHealth: 2, proxyMetrics: 3 },
      }),
    )
    expect(config.authentication.anonymous.enabled).toBe(false)
    expect(config.authorization.mode).toBe('Webhook')
    expect(config.containerRuntimeEndpoint).toBe('unix:///state/c.sock')
  })
})
