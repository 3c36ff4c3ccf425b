import { around, hasFailpoints } from '../../lib/failpoints.ts'
import type { Destination } from './destination.ts'

/** The same destination, whichever kind it is, with a failpoint before and after everything that it writes. */
export function withFailpoints(destination: Destination): Destination {
  if (!hasFailpoints()) return destination
  const { ledger } = destination
  return {
    ...destination,
    ensureTable: (...of) => around('destination.ensure', () => destination.ensureTable(...of)),
    flush: (...of) => around('destination.flush', () => destination.flush(...of)),
    runAction: (...of) => around('destination.action', () => destination.runAction(...of)),
    writeChunk: (...of) => around('destination.chunk', () => destination.writeChunk(...of)),
    ledger: {
      ...ledger,
      claimTable: (...of) => around('ledger.claim', () => ledger.claimTable(...of)),
      updateTable: (...of) => around('ledger.update', () => ledger.updateTable(...of)),
      releaseTable: (...of) => around('ledger.free', () => ledger.releaseTable(...of)),
      recordHeld: (...of) => around('ledger.held', () => ledger.recordHeld(...of)),
      closeBackfill: (...of) => around('ledger.close', () => ledger.closeBackfill(...of)),
      beginAttempt: (...of) => around('ledger.attempt', () => ledger.beginAttempt(...of)),
      recordCopied: (...of) => around('ledger.copied', () => ledger.recordCopied(...of)),
      recordPlan: (...of) => around('ledger.plan', () => ledger.recordPlan(...of)),
      splitChunk: (...of) => around('ledger.split', () => ledger.splitChunk(...of)),
    },
  }
}
