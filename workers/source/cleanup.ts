import { around } from '../../lib/failpoints.ts'
import { sleep } from '../../lib/sleep.ts'
import { quoteIdentifier } from '../../lib/sql.ts'
import type { Connection } from './connect.ts'
import { type Claimant, readPublicationOwner, whyNotOwn } from './owner.ts'
import { sqlState } from './postgres-errors.ts'
import type { SourceNames } from './publication.ts'
import { dropSlot, readSlot, slotInUse } from './slot.ts'

const POLL_MILLISECONDS = 250
const TRIES = 40

/**
 * Drops what a Pipeline owns in its source, and nothing that is another one's: then it returns why it left both alone.
 * Idempotent; the publication, whose comment proves the ownership, goes last. A capture that still reads the slot is ended
 * first: whoever calls this has decided that nobody shall read it any more. Throws `SlotInUse` when it does not let go
 * within about 10 s.
 */
export async function dropSlotAndPublication(
  connection: Connection,
  names: SourceNames,
  claimant: Claimant,
  signal: AbortSignal,
): Promise<string | undefined> {
  const comment = await readPublicationOwner(connection, names.publication)
  const reason = whyNotOwn(comment, names, claimant)
  if (reason !== undefined) {
    const isThere = comment !== undefined || (await readSlot(connection, names.slot)) !== undefined
    return isThere ? reason : undefined
  }
  for (let attempt = 1; ; attempt += 1) {
    const slot = await readSlot(connection, names.slot)
    if (!slot) break
    if (slot.activePid !== undefined) {
      await connection.query('SELECT pg_terminate_backend($1::int)', [String(slot.activePid)])
    }
    try {
      await around('cleanup.slot', () => dropSlot(connection, names.slot))
      break
    } catch (error) {
      if (sqlState(error) !== '55006') throw error
      if (attempt >= TRIES) throw slotInUse(names.slot, slot.activePid)
    }
    await sleep(POLL_MILLISECONDS, signal)
  }
  const drop = `DROP PUBLICATION IF EXISTS ${quoteIdentifier(names.publication)}`
  await around('cleanup.publication', () => connection.query(drop))
  return undefined
}
