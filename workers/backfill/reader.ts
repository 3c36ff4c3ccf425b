import { MillraceError } from '../../lib/errors.ts'
import { failpoint } from '../../lib/failpoints.ts'
import { sleep } from '../../lib/sleep.ts'
import type { ChunkResult } from '../destination/destination.ts'
import type { ChunkRange, Fence, LedgerChunk } from '../destination/ledger.ts'
import { type Connection, inTransaction } from '../source/connect.ts'
import { readLogEnd } from '../source/identity.ts'
import type { LSN } from '../source/lsn.ts'
import { emitMessage } from '../source/messages.ts'
import { readLeaves } from '../source/scan-facts.ts'
import { halveBlocks, splitKeys } from '../source/scan-plan.ts'
import { finishChunk, type ReadEnd, readChunk } from '../source/scan-read.ts'
import { medianQuery, rangeBounds, setBounds } from '../source/scan-sql.ts'
import type { Attempt } from './context.ts'
import type { ScanServer } from './server.ts'
import { watchConsumer } from './stall.ts'

/** Copies chunks one after the other over a session of its own. */
export interface Reader {
  /** Makes one chunk durable. `snapshot` as `ChunkRequest` has it. Whatever it throws, nothing of the chunk is written. */
  copy(chunk: LedgerChunk, snapshot: string): Promise<ChunkResult>
  /** Two parts of a chunk that was too much at once; undefined when it cannot be divided. */
  halve(chunk: LedgerChunk): Promise<ChunkRange[] | undefined>
  close(): void
}

export interface ReaderOptions {
  readonly attempt: Attempt
  readonly server: ScanServer
  readonly fence: Fence
  readonly plan: number
  readonly signal: AbortSignal
}

interface Session {
  readonly connection: Connection
  readonly abort: AbortController
}

export function createReader({ attempt, server, fence, plan, signal }: ReaderOptions): Reader {
  const { destination, definition, settings, metrics } = attempt
  let session: Session | undefined

  async function connected(): Promise<Connection> {
    if (session && !session.connection.lost.aborted) return session.connection
    close()
    const abort = new AbortController()
    const connection = await server.connect(AbortSignal.any([signal, abort.signal]))
    session = { connection, abort }
    return connection
  }

  // A session in the middle of a COPY or of a failed transaction is not worth saving.
  function close(): void {
    session?.abort.abort(new MillraceError('ConnectionLost', 'the session was given up'))
    void session?.connection.close()
    session = undefined
  }

  async function copy(chunk: LedgerChunk, snapshot: string): Promise<ChunkResult> {
    const started = performance.now()
    const connection = await connected()
    await server.assertCurrent(connection)
    const { range } = chunk
    const source = {
      definition,
      range,
      snapshot,
      expression: destination.columnExpression,
      copyOptions: destination.copyOptions,
    }
    // The destination may wrap what its input throws; what went wrong at the source is told here as it was.
    let sourceError: unknown
    let end: ReadEnd | undefined
    function stall(): void {
      sourceError = new MillraceError(
        'DestinationUnavailable',
        `the destination has not taken a row for ${STALL_MILLISECONDS / 1000} s; the chunk is given up, since a query that cannot go on holds up the source`,
      )
      close()
    }
    async function* read(reading: AbortSignal): AsyncGenerator<Buffer> {
      // Nobody takes the rows any more: a session that waits for the next ones would not notice.
      reading.addEventListener('abort', close, { once: true })
      try {
        for await (const bytes of watchConsumer(readChunk(connection, source), STALL_MILLISECONDS, stall)) {
          metrics.read(bytes.length)
          attempt.garbage.add(bytes.length)
          const pause = failpoint('backfill.chunk.read', close)
          if (pause) await pause
          yield bytes
        }
        // As soon as it can be: what the destination does with the rows may take long, and the source should not wait.
        end = await finishChunk(connection, range)
      } catch (error) {
        if (!reading.aborted) sourceError ??= error
        throw error
      } finally {
        reading.removeEventListener('abort', close)
      }
    }
    async function beforeCommit(): Promise<void> {
      try {
        await failpoint('backfill.chunk.commit', close)
        if (end === undefined) throw new MillraceError('Internal', 'a chunk was not read to its end')
        if (end.logEnd !== undefined) await waitForFlush(attempt, connection, end.logEnd)
      } catch (error) {
        sourceError = error
        throw error
      }
    }
    try {
      const result = await destination.writeChunk(
        {
          fence,
          target: settings.target,
          definition,
          options: settings.options,
          plan,
          chunk: chunk.chunk,
          range,
          snapshot,
          read,
          beforeCommit,
        },
        signal,
      )
      if (result.written) metrics.chunk(result, (performance.now() - started) / 1000)
      return result
    } catch (error) {
      close()
      throw sourceError ?? error
    }
  }

  async function halve(chunk: LedgerChunk): Promise<ChunkRange[] | undefined> {
    const { range } = chunk
    if (range.kind === 'all') return undefined
    const connection = await connected()
    if (range.kind === 'ctid') {
      const { leaves } = await readLeaves(connection, definition)
      const leaf = leaves.find(({ schema, name }) => schema === range.leaf.schema && name === range.leaf.name)
      return halveBlocks(range, leaf?.blocks ?? 0)
    }
    return inTransaction(
      connection,
      async () => {
        const bounds = setBounds(rangeBounds(range))
        if (bounds) await connection.query(bounds.text, bounds.values)
        const [middle] = await connection.query(medianQuery(definition, range), [
          String(Math.ceil(settings.chunkRows / 2)),
        ])
        return (
          middle &&
          splitKeys(
            range,
            definition.key.map((_, index) => middle[`k${index + 1}`] ?? ''),
          )
        )
      },
      'BEGIN READ ONLY',
    )
  }

  return { copy, halve, close }
}

/**
 * How long the destination may take for what it was given, milliseconds. On a replica, a query that waits to write to its
 * client stops the replay for as long as it waits, whatever max_standby_streaming_delay says.
 */
const STALL_MILLISECONDS = 60_000

const FLUSH_POLL_MILLISECONDS = 50
const FLUSH_PATIENCE_MILLISECONDS = 1_000

/**
 * Waits until the primary's log is safe on disk up to where it was when the chunk had been read (rule R13).
 *
 * PostgreSQL writes commits soon, but nothing of a transaction that is still open; so after a while a commit of our own
 * pushes the rest.
 */
async function waitForFlush(attempt: Attempt, connection: Connection, end: LSN): Promise<void> {
  const patience = performance.now() + FLUSH_PATIENCE_MILLISECONDS
  while ((await readLogEnd(connection)).flushed < end) {
    if (performance.now() >= patience) {
      await inTransaction(connection, async () => {
        await connection.query('SET LOCAL synchronous_commit = local')
        await emitMessage(connection, { kind: 'heartbeat', slot: attempt.names.slot })
      })
    } else {
      await sleep(FLUSH_POLL_MILLISECONDS, attempt.signal)
    }
  }
}
