import { expect, it } from 'vitest'
import { mountsBelow } from './mounts.ts'

const mountinfo = `22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:20 / /state rw - tmpfs tmpfs rw
31 30 0:21 / /state/kubelet/my\\040volume rw - tmpfs tmpfs rw
32 22 0:22 / /stateful rw - tmpfs tmpfs rw
`

it('finds mounts of a folder, innermost first, and none of its namesakes', () => {
  expect(mountsBelow(mountinfo, '/state')).toEqual(['/state/kubelet/my volume', '/state'])
})
