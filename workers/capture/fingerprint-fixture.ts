import type { FingerprintColumn } from './fingerprint.ts'
import type { LeafHistory } from './leaves.ts'

export const column = (number: number, name: string, type = 'integer'): FingerprintColumn => ({
  number,
  name,
  type,
  labels: null,
  computed: false,
})

/** The leaves of a table that is its own, in its first file and in its second. */
export const leaves = [{ oid: 10, name: 't', filenode: '100' }]
export const rewritten = [{ oid: 10, name: 't', filenode: '101' }]

export const none: LeafHistory = { filled: new Set(), emptied: new Map(), altered: new Set(), odd: new Set() }
