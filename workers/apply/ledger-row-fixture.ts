import type { LedgerTable } from '../destination/ledger.ts'
import { ORIGIN } from '../source/position.ts'

/** What the ledger says of a table that streams and has all its history; for tests. */
export const LEDGER_ROW: LedgerTable = {
  pipeline: 'p',
  table: { schema: 'public', name: 't' },
  destination: { schema: 'public', name: 't' },
  version: 1n,
  topic: 'topic',
  incarnation: 'a',
  nextOffset: 5n,
  position: ORIGIN,
  state: 'active',
  stopCode: '',
  stopMessage: '',
  heldBy: '',
  unknownHistory: false,
  needsEmptying: false,
  historyComplete: true,
}
