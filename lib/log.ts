import { type Logger as PinoLogger, pino, stdTimeFunctions } from 'pino'

export type Logger = PinoLogger

/**
 * Structured log of one process, JSON lines on standard output.
 *
 * Anything that looks like a credential is removed here once, so that no caller has to remember to.
 *
 * @param level one of pino's levels; `silent` in tests
 */
export function createLogger(process: string, level = 'info'): Logger {
  return pino({
    level,
    base: { process },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: {
      paths: [
        'password',
        '*.password',
        '*.*.password',
        'connectionString',
        '*.connectionString',
        'headers.authorization',
      ],
      censor: '[removed]',
    },
  })
}
