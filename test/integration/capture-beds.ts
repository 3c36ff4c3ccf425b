import { join } from 'node:path'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { type KafkaHandle, startKafka } from '../../hack/services/kafka.ts'
import type { Transport } from '../../lib/kube/transport.ts'
import { type CaptureBed, type CaptureOptions, openCaptureBed } from './capture-fixture.ts'
import { adminTransport, installCrds } from './kubernetes.ts'
import { tempDir } from './services.ts'

/** A table of two numbers, and a Pipeline that has it. */
export const table = { source: 'create table t (id int primary key, n int)', tables: [{ name: 't' }] }

interface CaptureBeds {
  open(name: string, options: CaptureOptions): Promise<CaptureBed>
  ownKafka(): Promise<KafkaHandle>
  /** Has servers of the test's own killed at the end of the test. */
  own(...servers: readonly Killable[]): void
}

interface Killable {
  kill9(): Promise<void>
}

/** For a test file: what a test opens here is closed at its end. Registers the hooks. */
export function useCaptureBeds(): CaptureBeds {
  const beds: CaptureBed[] = []
  const owned: Killable[] = []
  let transport: Transport | undefined

  beforeAll(async () => {
    transport = await adminTransport()
    await installCrds(transport)
  })
  afterEach(async () => {
    for (const bed of beds.splice(0)) await bed.close()
    for (const server of owned.splice(0)) await server.kill9()
  })
  afterAll(() => transport?.close())

  const own = (...servers: readonly Killable[]) => {
    owned.push(...servers)
  }
  return {
    own,
    async open(name, options) {
      if (!transport) throw new Error('the API server has not been started yet')
      const bed = await openCaptureBed(transport, name, options)
      beds.push(bed)
      return bed
    },
    async ownKafka() {
      const broker = await startKafka({ dir: join(tempDir(), 'kafka') })
      own(broker)
      return broker
    },
  }
}
