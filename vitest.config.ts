import { defineConfig } from 'vitest/config'

/**
 * Integration tests that take minutes each, left out unless LONG=1 (`make test-long`): a fresh machine of two cores has 45
 * minutes for everything.
 */
const LONG = [
  'gaps',
  'verify',
  'verify-redshift',
  'destination-redshift-pipeline',
  'destination-redshift-faults',
  'capture-size',
].map((name) => `test/integration/${name}.test.ts`)

// Three suites, from fast to slow. Unit tests stand beside the code they test and touch nothing outside the
// process; integration tests use real PostgreSQL, Kafka and API server processes that the global set-up starts
// once for the whole run; end-to-end tests use the real cluster.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{crds,hack,lib,operator,workers,test}/**/*.test.ts'],
          exclude: ['test/integration/**', 'test/e2e/**', 'node_modules/**'],
          // Property tests only compute; on a busy machine they take their time.
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          exclude: process.env.LONG === '1' ? [] : LONG,
          globalSetup: ['test/integration/global-setup.ts'],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: ['test/e2e/global-setup.ts'],
          testTimeout: 900_000,
          hookTimeout: 900_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
