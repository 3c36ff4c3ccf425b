import { readLine } from './decode.ts'
import type { ControlLine, Header } from './format.ts'
import { readPart } from './join-runs.ts'
import type { QueueRecord } from './queue.ts'

/** A header or a control line of a topic whose rows do not matter. */
export type ScannedLine =
  | { readonly kind: 'header'; readonly header: Header }
  | { readonly kind: 'control'; readonly line: ControlLine; readonly lsn: bigint }

/** Looks through the records of one topic without keeping any, however large a run is. */
export interface ControlScanner {
  /** The lines that the next record completes. Throws `Internal` for what is no run of this version. */
  push(record: QueueRecord): ScannedLine[]
}

/** A run of which more records are to come. */
interface OpenRun {
  readonly run: string
  /** The part that comes next. */
  next: number
  /** The begin of a line that goes on there; undefined: one of a row, which nobody wants. */
  begin: Buffer | undefined
}

const NEWLINE = 0x0a
const BRACE = 0x7b
/** As many as can be open at once: a capture that was replaced may have left one, and another is being written. */
const MOST_OPEN = 3
const EMPTY = Buffer.alloc(0)

export function createControlScanner(): ControlScanner {
  let open: OpenRun[] = []

  function take(record: QueueRecord, part: { run: string; index: number; count: number }): ScannedLine[] {
    let run = open.find((each) => each.run === part.run)
    if (part.index === 1) {
      run = { run: part.run, next: 1, begin: EMPTY }
      open = [...open.filter((each) => each.run !== part.run), run].slice(-MOST_OPEN)
    }
    // Whether something is missing before it is for those to find who read the rows.
    if (!run || run.next !== part.index) return []
    run.next += 1
    const lines = scan(record, run)
    if (part.index === part.count) open = open.filter((each) => each !== run)
    return lines
  }

  return {
    push(record) {
      const part = readPart(record)
      return part ? take(record, part) : scan(record, { run: '', next: 1, begin: EMPTY })
    },
  }
}

/** Reads the lines that end in the record, and remembers the begin of the one that does not. */
function scan({ topic, offset, value }: QueueRecord, run: OpenRun): ScannedLine[] {
  const found: ScannedLine[] = []
  for (let start = 0; start < value.length; ) {
    const newline = value.indexOf(NEWLINE, start)
    const end = newline < 0 ? value.length : newline
    const isWanted =
      run.begin !== undefined && (run.begin.length > 0 ? run.begin : value.subarray(start))[0] === BRACE
    if (isWanted && run.begin) run.begin = Buffer.concat([run.begin, value.subarray(start, end)])
    else run.begin = undefined
    if (newline >= 0) {
      if (run.begin) {
        const entry = readLine(run.begin, 0, run.begin.length, `topic ${topic}, offset ${offset}`)
        if (entry.kind === 'header' || entry.kind === 'control') found.push(entry)
      }
      run.begin = EMPTY
    }
    start = end + 1
  }
  return found
}
