/** Cuts a list, in its order, into groups of which the sizes come to `room` at most; what is larger stands alone. */
export function inGroups<T>(items: readonly T[], size: (item: T) => number, room: number): T[][] {
  const groups: T[][] = []
  let left = 0
  for (const item of items) {
    const bytes = size(item)
    if (groups.length === 0 || left < bytes) {
      groups.push([])
      left = room
    }
    groups.at(-1)?.push(item)
    left -= bytes
  }
  return groups
}
