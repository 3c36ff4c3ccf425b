import { MillraceError } from '../../lib/errors.ts'
import type { Connection, TextRow } from '../source/connect.ts'

/**
 * Rows that were moved or written anew with another file stand at its front; whatever came later need not be read, and of the
 * others some are enough, however many they are.
 */
export const FRONT = `ctid < '(4096,0)'`

/**
 * Asks about the rows of one partition. Undefined when the user may not read it: a right to its table does not include one to
 * the partition by its own name; or when the question does not fit what is there by now. What cannot be proven harmless is
 * then taken for harm.
 */
export async function askLeaf(
  connection: Connection,
  question: string,
  values: readonly string[] = [],
): Promise<TextRow | undefined> {
  try {
    const [row] = await connection.query(question, values)
    return row
  } catch (error) {
    const isAnswer = error instanceof MillraceError && (error.code === 'PermissionDenied' || !error.retryable)
    if (isAnswer) return undefined
    throw error
  }
}
