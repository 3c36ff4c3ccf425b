/** A type as `format_type()` writes it, in its parts. */
export interface TypeName {
  /** Without modifier and array marks: `numeric`, `timestamp with time zone`, `public.citext`. */
  readonly name: string
  /** `[12, 2]` of `numeric(12,2)`; empty when there is none, or when it is not made of numbers. */
  readonly modifier: readonly number[]
  /** The modifier as it is written, `(Point,4326)`; empty when there is none. */
  readonly modifierText: string
  readonly array: boolean
  /** In pg_catalog, so that every PostgreSQL has it; other types are written with their schema. */
  readonly builtIn: boolean
}

const PARTS = /^((?:"(?:[^"]|"")*"|[^"(])*)(\([^)]*\))?([^[]*)((?:\[\])*)$/
const QUOTED = /"(?:[^"]|"")*"/g

/** Takes a type apart; text that is not a type comes back as a name. */
export function parseTypeName(type: string): TypeName {
  const [, before = type, modifierText = '', after = '', marks = ''] = PARTS.exec(type) ?? []
  const bare = /^(.*?)((?:\[\])*)$/.exec(before) as RegExpExecArray
  const name = `${bare[1]}${after}`.trim()
  const numbers = modifierText.slice(1, -1).split(',').map(Number)
  return {
    name,
    modifier: modifierText === '' || numbers.some(Number.isNaN) ? [] : numbers,
    modifierText,
    array: marks !== '' || bare[2] !== '',
    builtIn: !name.replaceAll(QUOTED, 'q').includes('.'),
  }
}
