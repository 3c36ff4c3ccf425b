import type { TableRef } from './ast.ts'

export interface References {
  /** Tables that are read: those in FROM, USING and joins, without the names of WITH. */
  readonly tables: readonly TableRef[]
  /** Names of all functions called. */
  readonly functions: ReadonlySet<string>
}

/** Gathers what a statement, or a part of one, reads and calls. */
export function collectReferences(part: object): References {
  const tables: TableRef[] = []
  const functions = new Set<string>()
  const visit = (node: unknown, hidden: ReadonlySet<string>): void => {
    if (Array.isArray(node)) {
      for (const each of node) visit(each, hidden)
      return
    }
    if (typeof node !== 'object' || node === null) return
    const inner = withNames(node, hidden)
    if ('kind' in node && node.kind === 'call' && 'name' in node) functions.add(node.name as string)
    if ('kind' in node && node.kind === 'table' && 'table' in node) {
      const ref = node.table as TableRef
      if (ref.schema !== undefined || !hidden.has(ref.name)) tables.push(ref)
      return
    }
    for (const value of Object.values(node)) visit(value, inner)
  }
  visit(part, new Set())
  return { tables, functions }
}

/** A WITH list hides tables of the same names from the statement it belongs to, and from the later ones of the list. */
function withNames(node: object, hidden: ReadonlySet<string>): ReadonlySet<string> {
  if (!('with' in node) || !Array.isArray(node.with) || node.with.length === 0) return hidden
  return new Set([...hidden, ...node.with.map((each: { name: string }) => each.name)])
}
