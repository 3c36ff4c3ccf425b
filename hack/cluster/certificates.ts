import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../process/run.ts'

/** Files that let the parts of the cluster know each other. */
export interface Certificates {
  ca: string
  /** The API server's own, for the addresses it is reached by. */
  serverCert: string
  serverKey: string
  /** What the API server shows to the kubelet. */
  clientCert: string
  clientKey: string
  /** Signs the tokens of service accounts. */
  serviceAccountKey: string
}

const validDays = '3650'
const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'] as const

/** Makes, once, a certificate authority in `dir` and what it signs. `addresses` are the API server's IP addresses. */
export async function certificates(dir: string, addresses: readonly string[]): Promise<Certificates> {
  const file = (name: string) => join(dir, name)
  const files: Certificates = {
    ca: file('ca.crt'),
    serverCert: file('apiserver.crt'),
    serverKey: file('apiserver.key'),
    clientCert: file('apiserver-client.crt'),
    clientKey: file('apiserver-client.key'),
    serviceAccountKey: file('service-accounts.key'),
  }
  if (existsSync(file('complete'))) return files
  mkdirSync(dir, { recursive: true, mode: 0o700 })

  const authority = ['-x509', '-days', validDays, '-subj', '/CN=millrace-local-ca']
  await run(['openssl', 'req', ...newKey, ...authority, '-keyout', file('ca.key'), '-out', files.ca])
  const names = ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'localhost']
  const subjects = [...names.map((name) => `DNS:${name}`), ...addresses.map((address) => `IP:${address}`)]
  const sign = (key: string, cert: string, subject: string, ...extensions: string[]) =>
    run([
      'openssl',
      'req',
      ...newKey,
      '-x509',
      '-days',
      validDays,
      '-CA',
      files.ca,
      '-CAkey',
      file('ca.key'),
      '-subj',
      subject,
      ...extensions.flatMap((extension) => ['-addext', extension]),
      '-keyout',
      key,
      '-out',
      cert,
    ])
  await Promise.all([
    sign(
      files.serverKey,
      files.serverCert,
      '/CN=kube-apiserver',
      'basicConstraints=critical,CA:false',
      `subjectAltName=${subjects.join(',')}`,
    ),
    sign(
      files.clientKey,
      files.clientCert,
      '/O=system:masters/CN=kube-apiserver-kubelet-client',
      'basicConstraints=critical,CA:false',
      'extendedKeyUsage=clientAuth',
    ),
    run(['openssl', 'genrsa', '-out', files.serviceAccountKey, '2048']),
  ])
  writeFileSync(file('complete'), '')
  return files
}
