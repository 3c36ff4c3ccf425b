/**
 * Passes pieces on; calls `onStall` once when the consumer has not asked for the next one for `milliseconds`. Time that the
 * producer takes does not count.
 */
export async function* watchConsumer<T>(
  pieces: AsyncIterable<T>,
  milliseconds: number,
  onStall: () => void,
): AsyncGenerator<T> {
  let consuming = false
  // One timer for all pieces: a new one for each would cost more than the rest of this.
  const timer = setTimeout(() => {
    if (consuming) onStall()
    else timer.refresh()
  }, milliseconds)
  try {
    for await (const piece of pieces) {
      consuming = true
      timer.refresh()
      yield piece
      consuming = false
    }
  } finally {
    clearTimeout(timer)
  }
}
