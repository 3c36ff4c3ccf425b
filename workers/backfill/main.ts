import { runWorker } from '../runtime/run.ts'
import { runBackfill } from './run.ts'

await runWorker('backfill', runBackfill)
