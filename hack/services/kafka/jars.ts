import { join } from 'node:path'
import { cached, contentHash } from '../../process/cache.ts'
import { run } from '../../process/run.ts'

const pom = join(import.meta.dirname, 'pom.xml')

/**
 * Folder with the broker's jars, copied from the Maven repository the first time (54 MB, about 20 s).
 * Fails when Maven is missing or an artifact cannot be had.
 */
export function kafkaJars(): Promise<string> {
  return cached(`kafka-${contentHash([pom])}`, async (folder) => {
    await run([
      'mvn',
      '--quiet',
      '--batch-mode',
      `--file=${pom}`,
      'dependency:copy-dependencies',
      '-DincludeScope=runtime',
      `-DoutputDirectory=${folder}`,
    ])
  })
}
