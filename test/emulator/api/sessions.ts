import { randomUUID } from 'node:crypto'
import type { Session } from '../engine/session.ts'
import type { Clock, Limits } from '../options.ts'
import { activeSessionsExceeded, validation } from './errors.ts'
import type { Target } from './request.ts'

/** A session that outlives its statement. */
export interface ApiSession {
  readonly id: string
  readonly target: Target
  readonly user: string
  readonly identity: string
  readonly createdAt: number
  updatedAt: number
  keepAliveSeconds: number
  expiresAt: number
  status: 'AVAILABLE' | 'BUSY' | 'CLOSED'
  currentStatement: string | undefined
  /** Undefined until its first statement runs, and when it is closed. */
  connection: Session | undefined
}

export interface Sessions {
  create(target: Target, user: string, identity: string, keepAliveSeconds: number): ApiSession
  /** Takes an existing session for one more statement. */
  occupy(id: string, identity: string, keepAliveSeconds: number | undefined): ApiSession
  /** The statement is over: the time until the session ends starts again. */
  vacate(session: ApiSession): void
  close(session: ApiSession): Promise<void>
  /** Closes those whose time is over. */
  expire(): Promise<void>
  all(): readonly ApiSession[]
}

export function createSessions(
  limits: Limits,
  clock: Clock,
  disconnect: (session: Session) => Promise<void>,
): Sessions {
  const sessions = new Map<string, ApiSession>()
  const open = () => [...sessions.values()].filter(({ status }) => status !== 'CLOSED')

  const close = async (session: ApiSession) => {
    if (session.status === 'CLOSED') return
    session.status = 'CLOSED'
    session.updatedAt = clock.now()
    const { connection } = session
    session.connection = undefined
    if (connection) await disconnect(connection)
  }
  const isOver = ({ status, expiresAt, createdAt }: ApiSession) =>
    status === 'AVAILABLE' &&
    (expiresAt <= clock.now() || createdAt + limits.sessionSeconds * 1000 <= clock.now())
  const expire = async () => {
    await Promise.all(open().filter(isOver).map(close))
    for (const [id, { status, updatedAt }] of sessions) {
      if (status === 'CLOSED' && updatedAt < clock.now() - 86_400_000) sessions.delete(id)
    }
  }

  return {
    create: (target, user, identity, keepAliveSeconds) => {
      if (open().length >= limits.sessions) throw activeSessionsExceeded(limits.sessions)
      const now = clock.now()
      const session: ApiSession = {
        id: randomUUID(),
        target,
        user,
        identity,
        createdAt: now,
        updatedAt: now,
        keepAliveSeconds,
        expiresAt: now + keepAliveSeconds * 1000,
        status: 'BUSY',
        currentStatement: undefined,
        connection: undefined,
      }
      sessions.set(session.id, session)
      return session
    },
    occupy: (id, identity, keepAliveSeconds) => {
      const session = sessions.get(id)
      if (!session || session.identity !== identity) throw validation(`Session with Id: ${id} is invalid`)
      if (isOver(session)) void close(session)
      if (session.status === 'CLOSED') throw validation('Session is not available')
      // No queue: one statement at a time.
      if (session.status === 'BUSY') throw validation(`Session ${id} is busy with another statement`)
      session.status = 'BUSY'
      session.updatedAt = clock.now()
      if (keepAliveSeconds !== undefined) session.keepAliveSeconds = keepAliveSeconds
      return session
    },
    vacate: (session) => {
      session.currentStatement = undefined
      if (session.status === 'CLOSED') return
      session.status = 'AVAILABLE'
      session.updatedAt = clock.now()
      session.expiresAt = clock.now() + session.keepAliveSeconds * 1000
    },
    close,
    expire,
    all: () => [...sessions.values()],
  }
}
