import { Client } from 'pg'

// The fuzzers write and compare with quoting of their own: a fault in the product's must not be in both.

/** An identifier, to the letter. */
export const ident = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** A value of any type, in the text form of that type. */
export const literal = (value: string | null): string =>
  value === null ? 'NULL' : `'${value.replaceAll("'", "''")}'`

/** A connected session; a lost connection is told by the next statement alone. */
export async function connect(url: string): Promise<Client> {
  const client = new Client({ connectionString: url, application_name: 'fuzz' })
  client.on('error', () => {})
  await client.connect()
  return client
}

/** Text and class of what PostgreSQL refused with. */
export function refusal(error: unknown): { readonly code: string; readonly message: string } {
  const { code, message } = error as { code?: string; message?: string }
  return { code: code ?? '', message: message ?? String(error) }
}
