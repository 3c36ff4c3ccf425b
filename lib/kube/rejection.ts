import { MillraceError } from '../errors.ts'

/** What the API server answered when it refused a request; the `cause` of the MillraceError that is thrown. */
export class KubernetesRejection extends Error {
  /** HTTP status. */
  readonly status: number
  /** The API server's word for it, such as `NotFound`, `Conflict`, `AlreadyExists`, `Invalid`, `Expired`. */
  readonly reason: string
  /** How long to wait before trying again, milliseconds; undefined when the server did not say. */
  readonly retryAfter: number | undefined

  constructor(status: number, reason: string, message: string, retryAfter?: number) {
    super(message)
    this.name = 'KubernetesRejection'
    this.status = status
    this.reason = reason
    this.retryAfter = retryAfter
  }
}

/** The rejection behind an error of the Kubernetes client; undefined when there was no answer at all. */
export function rejectionOf(error: unknown): KubernetesRejection | undefined {
  if (error instanceof KubernetesRejection) return error
  return error instanceof MillraceError ? rejectionOf(error.cause) : undefined
}

/** Reads a `Status` object, as the API server sends it with every error. */
export function parseRejection(status: number, body: string, retryAfterHeader?: string): KubernetesRejection {
  const seconds = Number(retryAfterHeader)
  const retryAfter = retryAfterHeader !== undefined && Number.isFinite(seconds) ? seconds * 1000 : undefined
  try {
    const parsed = JSON.parse(body) as { reason?: unknown; message?: unknown }
    if (typeof parsed.message === 'string') {
      const reason = typeof parsed.reason === 'string' && parsed.reason !== '' ? parsed.reason : 'Unknown'
      return new KubernetesRejection(status, reason, parsed.message, retryAfter)
    }
  } catch {
    // not from the API server itself: a proxy's page or plain text
  }
  return new KubernetesRejection(
    status,
    'Unknown',
    body.slice(0, 300).trim() || `status ${status}`,
    retryAfter,
  )
}

/** @param doing what was tried, such as `patch pipelines/orders` */
export function rejectionError(rejection: KubernetesRejection, doing: string): MillraceError {
  const message = `Kubernetes API refused to ${doing}: ${rejection.message}`
  const { status } = rejection
  if (status === 401 || status === 403) {
    return new MillraceError('PermissionDenied', message, { cause: rejection })
  }
  // A conflict ends well when the same is tried again from a fresh read, the others when the server has recovered.
  const retryable = status === 409 || status === 410 || status === 429 || status >= 500
  return new MillraceError(retryable ? 'KubernetesUnavailable' : 'Internal', message, { cause: rejection })
}

/** For a request that got no answer. */
export function unavailableError(cause: unknown, doing: string): MillraceError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new MillraceError('KubernetesUnavailable', `no answer from the Kubernetes API to ${doing}: ${why}`, {
    cause,
  })
}
