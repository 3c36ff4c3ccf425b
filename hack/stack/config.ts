import { randomBytes } from 'node:crypto'
import type { PodSide } from '../cluster/cluster.ts'
import { pickPort } from '../process/ports.ts'

/** What a stack chose when it was first started, and keeps until it is taken down. */
export interface StackConfig {
  /** How pods reach the host. */
  podSide: PodSide
  ports: {
    primary: number
    replica: number
    destination: number
    kafka: number
    kafkaPods: number
    kafkaController: number
    /** The Redshift emulator and its S3 server, which are started only when they are asked for. */
    redshift: number
    s3: number
  }
  passwords: {
    /** Superuser `postgres` of both sides. */
    superuser: string
    /** Owner of the source's tables: the application. */
    shop: string
    /** Reads the source. */
    millrace: string
    /** Writes the destination. */
    loader: string
  }
}

export const sourceDatabase = 'shop'
export const destinationDatabase = 'warehouse'

/** Chooses ports, the usual ones unless they are taken, and passwords. */
export async function chooseConfig(podSide: PodSide): Promise<StackConfig> {
  const hosts = ['127.0.0.1', podSide.host]
  const password = () => randomBytes(12).toString('hex')
  return {
    podSide,
    ports: {
      primary: await pickPort(15432, hosts),
      replica: await pickPort(15433, hosts),
      destination: await pickPort(15434, hosts),
      kafka: await pickPort(19092),
      kafkaPods: await pickPort(19093, [podSide.host]),
      kafkaController: await pickPort(19094),
      redshift: await pickPort(19095, [podSide.host]),
      s3: await pickPort(19096, [podSide.host]),
    },
    passwords: { superuser: password(), shop: password(), millrace: password(), loader: password() },
  }
}
