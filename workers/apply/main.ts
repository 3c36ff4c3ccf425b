import { runWorker } from '../runtime/run.ts'
import { runApply } from './run.ts'

await runWorker('apply', runApply)
