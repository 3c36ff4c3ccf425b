import { RedshiftError } from '../sql/errors.ts'
import { createEngine, type Engine, type EngineOptions } from './engine.ts'
import type { Session } from './session.ts'

export interface EnginesOptions extends Omit<EngineOptions, 'database'> {
  /** The only database; undefined: every one of the PostgreSQL server, under its own name. */
  readonly database: string | undefined
}

/** The databases of a warehouse. */
export interface Engines {
  /** Rejects when there is no such database. */
  of(database: string): Promise<Engine>
  closeSession(session: Session): Promise<void>
  close(): Promise<void>
}

/** Opens the only database at once, and others when they are first asked for. */
export async function createEngines({ url, database: only, ...rest }: EnginesOptions): Promise<Engines> {
  const engines = new Map<string, Promise<Engine>>()
  const opened = new Set<Engine>()

  const open = (database: string): Promise<Engine> => {
    const place = only === undefined ? urlOf(url, database) : url
    const opening = createEngine({ ...rest, url: place, database })
    engines.set(database, opening)
    opening.then(
      (engine) => opened.add(engine),
      () => engines.delete(database),
    )
    return opening
  }

  const of = async (database: string): Promise<Engine> => {
    if (only !== undefined && database !== only)
      throw new RedshiftError('3D000', `database "${database}" does not exist`)
    const engine = await (engines.get(database) ?? open(database))
    if (only !== undefined || !engine.lost()) return engine
    // Dropped, and made anew under the same name.
    opened.delete(engine)
    await engine.close()
    return open(database)
  }

  if (only !== undefined) await open(only)
  return {
    of,
    closeSession: async (session) => (await engines.get(session.database))?.closeSession(session),
    close: async () => {
      await Promise.all([...opened].map((engine) => engine.close()))
    },
  }
}

const urlOf = (url: string, database: string) =>
  Object.assign(new URL(url), { pathname: `/${encodeURIComponent(database)}` }).toString()
