import type { Client } from 'pg'
import { connect, refusal } from '../sql.ts'

/** The session of a script. What it does is noted with the time, so that it can be done again by hand. */
export interface ScriptSession {
  readonly log: readonly string[]
  note(text: string): void
  /** Whether PostgreSQL has taken it. What it refuses ends the transaction, if there is one. */
  exec(sql: string): Promise<boolean>
  /** Looks something up; nothing when that fails. */
  rows<Row extends object>(sql: string): Promise<Row[]>
  begin(): Promise<void>
  end(how?: 'commit' | 'rollback'): Promise<void>
  inTransaction(): boolean
  /** How many were taken. */
  statements(): number
  close(): Promise<void>
}

const LIMITS = `set lock_timeout = '20s'; set statement_timeout = '40s'; set idle_in_transaction_session_timeout = '60s'`
const SHOWN = 120

export async function openSession(url: string): Promise<ScriptSession> {
  const client: Client = await connect(url)
  await client.query(LIMITS)
  let began: number | undefined
  const log: string[] = []
  let open = false
  let statements = 0

  const note = (text: string) => {
    began ??= Date.now()
    log.push(`${((Date.now() - began) / 1000).toFixed(2)} ${text}`)
  }

  async function giveUp(): Promise<void> {
    if (!open) return
    open = false
    await client.query('rollback').catch(() => {})
    note('rollback;')
  }

  return {
    log,
    note,
    async exec(sql) {
      try {
        await client.query(sql)
        statements += 1
        note(`${sql};`)
        return true
      } catch (error) {
        note(`-- refused: ${sql}: ${refusal(error).message.slice(0, SHOWN)}`)
        await giveUp()
        return false
      }
    },
    async rows<Row extends object>(sql: string) {
      try {
        return (await client.query<Row>(sql)).rows
      } catch {
        await giveUp()
        return []
      }
    },
    async begin() {
      if (open) return
      await client.query('begin')
      note('begin;')
      open = true
    },
    async end(how = 'commit') {
      if (!open) return
      open = false
      const refused = await client.query(how).then(
        () => '',
        (error) => ` -- refused: ${refusal(error).message}`,
      )
      note(`${how};${refused}`)
    },
    inTransaction: () => open,
    statements: () => statements,
    close: () => client.end(),
  }
}
