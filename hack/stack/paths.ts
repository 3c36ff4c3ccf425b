import { join } from 'node:path'

/** Where the stack keeps what. All of it lies in the checkout's out/, which git ignores. */
export interface StackPaths {
  out: string
  /** Removed by `down`. */
  state: string
  /** Addresses and passwords, for shells. */
  envFile: string
  kubectl: string
  /** Ports and passwords, chosen once. */
  configFile: string
  cluster: string
  imageArchive: string
  /** Held by the command that changes the stack. */
  lock: string
}

/** The paths of the stack of the checkout at `root`. */
export function stackPaths(root: string): StackPaths {
  const out = join(root, 'out')
  const state = join(out, 'stack')
  return {
    out,
    state,
    envFile: join(out, 'stack.env'),
    kubectl: join(out, 'bin/kubectl'),
    configFile: join(state, 'stack.json'),
    cluster: join(state, 'cluster'),
    imageArchive: join(out, 'image/image.tar'),
    lock: join(out, 'stack.lock'),
  }
}

/** The paths of the stack whose state lies in this folder. */
export const pathsOfState = (state: string): StackPaths => stackPaths(join(state, '../..'))
