/** The signals that ask a process to end. SIGHUP and SIGPIPE are left alone: a pod gets neither. */
const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const

export interface StopSignals {
  readonly signal: AbortSignal
  /** No longer listens. Idempotent. */
  release(): void
}

/** Raised at everything that waits when the process is asked to end; not a failure. */
export class StopRequested extends Error {
  constructor(name: string) {
    super(`asked to stop by ${name}`)
    this.name = 'StopRequested'
  }
}

/**
 * An AbortSignal that SIGTERM and SIGINT abort.
 *
 * @param onSignal called with every signal, also with further ones
 */
export function stopOnSignals(onSignal: (name: string) => void): StopSignals {
  const controller = new AbortController()
  const listeners = STOP_SIGNALS.map((name) => {
    const listener = () => {
      onSignal(name)
      controller.abort(new StopRequested(name))
    }
    process.on(name, listener)
    return { name, listener }
  })
  return {
    signal: controller.signal,
    release() {
      for (const { name, listener } of listeners) process.off(name, listener)
    },
  }
}
