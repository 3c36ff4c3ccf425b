import { readFileSync, rmSync, writeFileSync } from 'node:fs'

const file = '/run/millrace-stack'

/** State folder of the stack that uses this machine's bridge and packet filter, if there is one. */
export function machineOwner(): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return undefined
  }
}

/** Notes that the stack with this state folder uses them. */
export const setMachineOwner = (state: string) => writeFileSync(file, `${state}\n`)

/** Notes that it no longer does. */
export function leaveMachine(state: string) {
  if (machineOwner() === state) rmSync(file)
}
