/**
 * Resolves when the signal aborts, at once if it has.
 *
 * @param end nobody waits any more once this aborts; it then never resolves
 */
export function aborted(signal: AbortSignal, end?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    signal.addEventListener('abort', () => resolve(), { once: true, ...(end && { signal: end }) })
  })
}
