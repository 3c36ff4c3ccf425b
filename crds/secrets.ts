/** References to Secrets. Their content is mounted into the worker pods and never read by the operator. */

import { type Infer, object, string } from './schema.ts'

const secretName = string({
  description: 'Name of a Secret in the namespace of the Pipeline.',
  maxLength: 253,
  matches: {
    pattern: '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$',
    message: 'name must be the name of a Secret: lower case letters, digits, hyphens and dots',
  },
})

function secretKey(field: string, description: string, byDefault: string) {
  return string({
    description,
    maxLength: 253,
    matches: {
      pattern: '^[-._a-zA-Z0-9]+$',
      message: `${field} must be a key of a Secret: letters, digits, hyphens, dots and underscores`,
    },
    default: byDefault,
  })
}

export function credentialsRef(description: string) {
  return object(
    {
      name: secretName,
      usernameKey: secretKey('usernameKey', 'Key of the user name in the Secret.', 'username'),
      passwordKey: secretKey('passwordKey', 'Key of the password in the Secret.', 'password'),
    },
    { description, atomic: true },
  )
}

export function caRef(description: string) {
  return object(
    {
      name: secretName,
      key: secretKey('key', 'Key of the PEM file in the Secret.', 'ca.crt'),
    },
    { description, atomic: true },
  )
}

export function awsCredentialsRef(description: string) {
  return object(
    {
      name: secretName,
      accessKeyIdKey: secretKey('accessKeyIdKey', 'Key of the access key id in the Secret.', 'accessKeyId'),
      secretAccessKeyKey: secretKey(
        'secretAccessKeyKey',
        'Key of the secret access key in the Secret.',
        'secretAccessKey',
      ),
    },
    { description, atomic: true },
  )
}

export type CredentialsSecretRef = Infer<ReturnType<typeof credentialsRef>>
export type CaSecretRef = Infer<ReturnType<typeof caRef>>
