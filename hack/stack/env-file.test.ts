import { execFileSync } from 'node:child_process'
import { parseEnv } from 'node:util'
import { describe, expect, it } from 'vitest'
import { renderEnv, stackVariables } from './env-file.ts'
import { stackPaths } from './paths.ts'

const config = {
  podSide: { host: '10.0.0.1', networks: ['10.0.0.0/24'] },
  ports: {
    primary: 1,
    replica: 2,
    destination: 3,
    kafka: 4,
    kafkaPods: 5,
    kafkaController: 6,
    redshift: 7,
    s3: 8,
  },
  passwords: { superuser: 'root', shop: 'app', millrace: 'a/b', loader: 'c' },
}

describe('stackVariables', () => {
  const variables = stackVariables(config, stackPaths('/repo'), '/kubeconfig', 'millrace:1')

  it('gives workers their own, unprivileged users', () => {
    expect(variables.SOURCE_URL).toBe('postgres://millrace:a%2Fb@127.0.0.1:1/shop')
    expect(variables.REPLICA_URL).toBe('postgres://millrace:a%2Fb@127.0.0.1:2/shop')
    expect(variables.DEST_URL).toBe('postgres://loader:c@127.0.0.1:3/warehouse')
  })

  it('tells the host’s addresses from the pods’', () => {
    expect(variables.KAFKA_BROKERS).toBe('127.0.0.1:4')
    expect(variables.POD_KAFKA_BROKERS).toBe('10.0.0.1:5')
    expect(variables.POD_SOURCE_HOST).toBe('10.0.0.1')
  })
})

describe('renderEnv', () => {
  const variables = { PLAIN: 'postgres://u:p@127.0.0.1:5432/db', SPACES: 'two words; $HOME', EMPTY: '' }

  it('is read back by a shell', () => {
    const script = `${renderEnv(variables)}printf '%s|%s|%s' "$PLAIN" "$SPACES" "$EMPTY"`
    expect(execFileSync('sh', ['-c', script], { encoding: 'utf8' })).toBe(Object.values(variables).join('|'))
  })

  it('is read back by Node', () => {
    expect(parseEnv(renderEnv(variables))).toEqual(variables)
  })

  it('refuses what it cannot quote for both', () => {
    expect(() => renderEnv({ A: "it's here" })).toThrow('single quote')
  })
})
