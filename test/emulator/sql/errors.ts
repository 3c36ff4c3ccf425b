/**
 * SQL that Redshift refuses, with the SQLSTATE and text it refuses it with. The Data API reports it as the `Error` of a
 * FAILED statement, behind `ERROR: `.
 */
export class RedshiftError extends Error {
  readonly sqlstate: string
  readonly detail: string | undefined

  constructor(sqlstate: string, message: string, detail?: string) {
    super(message)
    this.name = 'RedshiftError'
    this.sqlstate = sqlstate
    this.detail = detail
  }
}

/**
 * SQL that Redshift may well run, but of which the emulator does not know what it does there. Never answered by a guess.
 */
export class UnknownToEmulator extends RedshiftError {
  constructor(what: string) {
    super('0A000', `the Redshift emulator does not know ${what}`)
    this.name = 'UnknownToEmulator'
  }
}

/** `syntax error at or near "x"`, with the position that Redshift reports (in characters, from 1). */
export function syntaxError(near: string, position: number): RedshiftError {
  const where = near === '' ? 'at end of input' : `at or near "${near}"`
  return new RedshiftError('42601', `syntax error ${where}`, `Position: ${position}`)
}

/** What the Data API puts into `Error`. */
export function errorText(error: RedshiftError): string {
  return error.detail === undefined ? `ERROR: ${error.message}` : `ERROR: ${error.message}\n  ${error.detail}`
}
