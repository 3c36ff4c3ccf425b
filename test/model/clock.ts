import type { Process } from './process.ts'

/** Time of a simulation: it stands still until it is moved, and everything that asks or waits sees it alone. */
export interface Clock {
  /** Milliseconds since the simulation began. */
  now(): number
  /** When the next timer is due; undefined when there is none. */
  next(): number | undefined
  /** Moves to a time and fires what is due by then, in order; `settled` runs after each. */
  advance(to: number, settled: () => Promise<void>): Promise<void>
  /** Begins anew at 0 without timers. */
  reset(): void
}

interface Timer {
  readonly number: number
  due: number
  readonly every: number | undefined
  readonly call: () => void
  readonly owner: Process | undefined
}

/** 2026-11-22T00:00:00Z */
const BEGIN = 1_795_305_600_000

/**
 * Replaces the process's timers and clocks. What has no other way to wait than these is then wholly decided by the
 * simulation.
 *
 * @param owner whose timer it is that is being made; it does not fire any more when that one is dead
 */
export function installClock(
  owner: () => Process | undefined,
  runAs: (of: Process | undefined, call: () => void) => void,
): Clock {
  let time = 0
  let count = 0
  const timers = new Map<number, Timer>()

  function add(call: () => void, delay: number, repeat: boolean): object {
    count += 1
    const wait = Math.max(repeat ? 1 : 0, Number.isFinite(delay) ? delay : 0)
    const number = count
    timers.set(number, {
      number,
      due: time + wait,
      every: repeat ? wait : undefined,
      call,
      owner: owner(),
    })
    const handle = {
      number,
      unref: () => handle,
      ref: () => handle,
      hasRef: () => true,
      refresh() {
        const timer = timers.get(number)
        if (timer) timer.due = time + wait
        return handle
      },
    }
    return handle
  }
  const remove = (handle: unknown) =>
    void timers.delete((handle as { number?: number } | undefined)?.number ?? 0)

  function first(): Timer | undefined {
    let found: Timer | undefined
    for (const timer of timers.values()) {
      if (timer.owner?.dead) timers.delete(timer.number)
      else if (!found || timer.due < found.due || (timer.due === found.due && timer.number < found.number)) {
        found = timer
      }
    }
    return found
  }

  const RealDate = Date
  class SimulatedDate extends RealDate {
    constructor(...values: [] | [string | number | Date]) {
      if (values.length === 0) super(BEGIN + time)
      else super(values[0] as number)
    }
    static override now(): number {
      return BEGIN + Math.floor(time)
    }
  }
  Object.assign(globalThis, {
    Date: SimulatedDate,
    setTimeout: (call: (...of: unknown[]) => void, delay = 0, ...of: unknown[]) =>
      add(() => call(...of), delay, false),
    setInterval: (call: (...of: unknown[]) => void, delay = 0, ...of: unknown[]) =>
      add(() => call(...of), delay, true),
    clearTimeout: remove,
    clearInterval: remove,
  })
  Object.defineProperty(performance, 'now', { value: () => time, configurable: true })
  AbortSignal.timeout = (milliseconds) => {
    const controller = new AbortController()
    add(() => controller.abort(new DOMException('timed out', 'TimeoutError')), milliseconds, false)
    return controller.signal
  }

  return {
    now: () => time,
    next: () => first()?.due,
    async advance(to, settled) {
      for (;;) {
        const timer = first()
        if (!timer || timer.due > to) break
        time = Math.max(time, timer.due)
        if (timer.every === undefined) timers.delete(timer.number)
        else timer.due += timer.every
        runAs(timer.owner, timer.call)
        await settled()
      }
      time = Math.max(time, to)
    },
    reset() {
      time = 0
      timers.clear()
    },
  }
}
