import { MillraceError } from '../../lib/errors.ts'
import { quoteIdentifier } from '../../lib/sql.ts'
import type { Connection } from './connect.ts'
import type { SourceNames } from './publication.ts'

// The comment of a publication says which Pipeline it, and the slot beside it, belong to. Nothing else in the source tells
// Pipelines of two Kubernetes clusters apart, whose default names are the same.

const FIELD = 'spec.source.postgres.publication'
const BEGIN = 'Millrace Pipeline '

/** The comment that names a Pipeline as the owner: its namespace and name, and its uid. */
export function ownerComment(namespace: string, pipeline: string, uid: string): string {
  return `${BEGIN}${namespace}/${pipeline} ${uid}`
}

/** Whether a comment names a Pipeline; other ones are notes of people, and claim nothing. */
function namesPipeline(comment: string): boolean {
  return comment.startsWith(BEGIN)
}

/**
 * Whether a comment names a Pipeline of another namespace or name than `self`. One of the same name, with another uid, may be
 * the same Pipeline that was deleted and made again.
 */
export function isOfOtherName(comment: string, self: string): boolean {
  const withoutUid = (owner: string) => owner.slice(0, owner.lastIndexOf(' '))
  return namesPipeline(comment) && withoutUid(comment) !== withoutUid(self)
}

/** Whether a comment names any Pipeline but `self`. */
export function isOfAnother(comment: string, self: string): boolean {
  return namesPipeline(comment) && comment !== self
}

/** The `SlotInUse` of a publication that belongs to another Pipeline: both would take each other's tables out of it. */
export function publicationTaken(publication: string, comment: string): MillraceError {
  return new MillraceError(
    'SlotInUse',
    `${FIELD}: publication ${JSON.stringify(publication)} belongs to another Pipeline (${comment}): name another one, or, if that Pipeline is gone, give it free: COMMENT ON PUBLICATION ${quoteIdentifier(publication)} IS NULL`,
    { field: FIELD },
  )
}

/** Who asks to drop slot and publication. */
export interface Claimant {
  /** Its `ownerComment`. */
  readonly owner: string
  /** The slot that its capture has reported as its own; undefined: none. */
  readonly reportedSlot: string | undefined
}

/**
 * Why slot and publication must be left alone, in words for a person; undefined when they are the claimant's.
 *
 * The publication is made, and claimed, before the slot: a capture that ended between making the slot and reporting it left
 * a comment that names it. What it reported counts only where no comment names anybody, because it may be long ago.
 *
 * @param comment of the publication; undefined when there is no publication
 */
export function whyNotOwn(
  comment: string | undefined,
  names: SourceNames,
  { owner, reportedSlot }: Claimant,
): string | undefined {
  if (comment === owner) return undefined
  if (comment !== undefined && isOfAnother(comment, owner)) {
    return `publication ${JSON.stringify(names.publication)} belongs to another Pipeline (${comment})`
  }
  if (reportedSlot === names.slot) return undefined
  return comment === undefined
    ? `there is no publication ${JSON.stringify(names.publication)} to say whose they are, and this Pipeline has never reported the slot as its own`
    : `publication ${JSON.stringify(names.publication)} does not name this Pipeline, which has never reported the slot as its own`
}

/** The comment of a publication, empty when it has none; undefined when there is no such publication. */
export async function readPublicationOwner(
  connection: Connection,
  publication: string,
): Promise<string | undefined> {
  const [row] = await connection.query(
    `SELECT coalesce(obj_description(oid, 'pg_publication'), '') AS owner FROM pg_publication WHERE pubname = $1`,
    [publication],
  )
  return row ? (row.owner ?? '') : undefined
}

/** Records in the publication's comment which Pipeline it belongs to. */
export async function setPublicationOwner(
  connection: Connection,
  name: string,
  owner: string,
): Promise<void> {
  const text = owner.replaceAll("'", "''")
  await connection.query(`COMMENT ON PUBLICATION ${quoteIdentifier(name)} IS '${text}'`)
}
