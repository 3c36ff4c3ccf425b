import { stdout } from 'node:process'
import type { TableBackfill } from '../../crds/table-backfill.ts'

/** One line of the progress table. */
export interface ProgressRow {
  readonly table: string
  readonly phase: string
  /** 0 to 1; undefined when nothing is known yet. */
  readonly share: number | undefined
  readonly rows: number
  readonly note: string
}

const BAR_WIDTH = 24
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']

/** What a person wants to see of a backfill. */
export function progressRow(backfill: TableBackfill): ProgressRow {
  const status = backfill.status
  const copy = status?.copy
  const total = copy?.chunksTotal ?? 0
  const done = status?.phase === 'Streaming' || status?.phase === 'Draining'
  const estimated = copy?.rowsEstimated ?? 0
  const byRows = estimated > 0 ? Math.min((copy?.rowsCopied ?? 0) / estimated, 0.99) : undefined
  return {
    table: `${backfill.spec.table.schema}.${backfill.spec.table.name}`,
    phase: status?.phase ?? 'New',
    share: done ? 1 : (byRows ?? (total > 0 ? (copy?.chunksDone ?? 0) / total : undefined)),
    rows: copy?.rowsCopied ?? 0,
    note: status?.message ?? '',
  }
}

/** A bar of fixed width, eighths of a character exact. */
export function bar(share: number, width = BAR_WIDTH): string {
  const eighths = Math.round(Math.max(0, Math.min(1, share)) * width * 8)
  const full = '█'.repeat(Math.floor(eighths / 8)) + EIGHTHS[eighths % 8]
  return full.padEnd(width, '░')
}

/** The progress table, one string per line, none wider than `columns`. */
export function renderProgress(rows: readonly ProgressRow[], footer: string, columns: number): string[] {
  const wide = Math.max(...rows.map((row) => row.table.length), 5)
  const lines = rows.map((row) => {
    const share = row.share === undefined ? '    ' : `${Math.floor(row.share * 100)}%`.padStart(4)
    const head = `  ${row.table.padEnd(wide)}  ${row.phase.padEnd(11)} ${bar(row.share ?? 0)} ${share} ${row.rows.toLocaleString('en').padStart(10)} rows`
    return `${head}  ${row.note}`
  })
  return [...lines, `  ${footer}`].map((line) => cut(line, columns))
}

function cut(line: string, columns: number): string {
  const characters = [...line]
  return characters.length <= columns ? line : `${characters.slice(0, columns - 1).join('')}…`
}

export interface ProgressScreen {
  show(rows: readonly ProgressRow[], footer: string): void
  /** Leaves the last picture standing. */
  end(): void
}

/** A table redrawn in place on a terminal; elsewhere a plain line whenever a phase or a tenth of the way changes. */
export function createProgressScreen(out: NodeJS.WriteStream = stdout): ProgressScreen {
  return out.isTTY ? redrawn(out) : plain(out)
}

function redrawn(out: NodeJS.WriteStream): ProgressScreen {
  let drawn = 0
  return {
    show(rows, footer) {
      const lines = renderProgress(rows, footer, out.columns || 120)
      out.write(
        `${drawn > 0 ? `\x1b[${drawn}A` : ''}${lines.map((line) => `\x1b[2K${line}\n`).join('')}\x1b[J`,
      )
      drawn = lines.length
    },
    end() {
      drawn = 0
    },
  }
}

function plain(out: NodeJS.WriteStream): ProgressScreen {
  const last = new Map<string, string>()
  return {
    show(rows) {
      for (const row of rows) {
        const tenth = row.share === undefined ? '-' : Math.floor(row.share * 10)
        const seen = `${row.phase} ${tenth}`
        if (last.get(row.table) === seen) continue
        last.set(row.table, seen)
        const share = row.share === undefined ? '' : ` ${Math.floor(row.share * 100)}%`
        out.write(
          `  ${row.table}: ${row.phase}${share}, ${row.rows} rows${row.note ? `: ${row.note}` : ''}\n`,
        )
      }
    },
    end() {
      last.clear()
    },
  }
}
