import { expect, it } from 'vitest'
import { ownResults, removalCommands } from './network.ts'

it('removes the chains of the cluster and the jumps to them, and nothing else', () => {
  const saved = `*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
:KUBE-SERVICES - [0:0]
:CNI-4f2 - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A KUBE-SERVICES -m comment --comment "a \\"quoted\\" name" -j CNI-4f2
COMMIT
`
  expect(removalCommands(saved)).toEqual([
    ['-D', 'PREROUTING', '-m', 'comment', '--comment', 'kubernetes service portals', '-j', 'KUBE-SERVICES'],
    ['-F', 'KUBE-SERVICES'],
    ['-F', 'CNI-4f2'],
    ['-X', 'KUBE-SERVICES'],
    ['-X', 'CNI-4f2'],
  ])
})

it('finds the records of its own pods, the loopback ones too', () => {
  const own = ['cni-loopback-0a1-lo', 'millrace-0a1-eth0']
  expect(ownResults([...own, 'cni-loopback-0b2-lo', 'other-0b2-eth0'])).toEqual(own)
})
