/** An error answer of the Data API, by the names that its clients map to classes. */
export class ApiError extends Error {
  readonly type: string
  readonly status: number
  readonly fields: Readonly<Record<string, string>>

  constructor(type: string, status: number, message: string, fields: Readonly<Record<string, string>> = {}) {
    super(message)
    this.name = type
    this.type = type
    this.status = status
    this.fields = fields
  }
}

export const validation = (message: string) => new ApiError('ValidationException', 400, message)

export const notFound = (message: string, resource: string) =>
  new ApiError('ResourceNotFoundException', 404, message, { ResourceId: resource })

export const throttled = () => new ApiError('ThrottlingException', 400, 'Rate exceeded')

export const internal = (message = 'Internal server error') =>
  new ApiError('InternalServerException', 500, message)

export const activeStatementsExceeded = (limit: number) =>
  new ApiError(
    'ActiveStatementsExceededException',
    400,
    `Active statements exceeded the allowed quota (${limit}).`,
  )

export const activeSessionsExceeded = (limit: number) =>
  new ApiError(
    'ActiveSessionsExceededException',
    400,
    `Active sessions exceeded the allowed quota (${limit}).`,
  )

export const waitingRequestsExceeded = (limit: number) =>
  new ApiError(
    'ActiveWaitingRequestsExceededException',
    400,
    `Active waiting requests for the statement exceeded the allowed quota (${limit}).`,
  )

export const unknownOperation = () => new ApiError('UnknownOperationException', 404, '')
