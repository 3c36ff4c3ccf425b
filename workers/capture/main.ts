import { runWorker } from '../runtime/run.ts'
import { runCapture } from './run.ts'

await runWorker('capture', runCapture)
