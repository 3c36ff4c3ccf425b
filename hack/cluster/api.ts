import { request } from 'node:https'

export interface ApiServer {
  /** `https://host:port`. */
  server: string
  /** Its certificate authority, PEM. */
  ca: string
  /** Bearer token. Without one, only what is open to everyone can be read. */
  token?: string
}

export interface ApiAnswer {
  ok: boolean
  body: string
}

/** Reads one path of an API server. Rejects when there is no answer within two seconds. */
export function apiGet({ server, ca, token }: ApiServer, path: string): Promise<ApiAnswer> {
  const headers = token ? { authorization: `Bearer ${token}` } : {}
  return new Promise((resolve, reject) => {
    const asked = request(server + path, { ca, headers, timeout: 2000, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({ ok: response.statusCode === 200, body: Buffer.concat(chunks).toString() }),
      )
    })
    asked.on('error', reject)
    asked.on('timeout', () => asked.destroy(new Error('no answer')))
    asked.end()
  })
}
