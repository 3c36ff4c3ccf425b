import { setFlagsFromString } from 'node:v8'
import { runWorker } from '../runtime/run.ts'
import { runApply } from './run.ts'

// Rows come in bursts and live for a second: V8 would let the heap grow to several times of what is alive before it
// collects. Measured: 111 instead of 287 MB for the same work, in the same time.
setFlagsFromString('--optimize-for-size')

await runWorker('apply', runApply)
