/** Writes what PostgreSQL writes: for tests of what reads it. */

export type TestValue = string | null | 0

export interface TestColumn {
  readonly name: string
  readonly typeOid?: number
  readonly identity?: boolean
}

const u8 = (value: number) => Buffer.from([value])
const u16 = (value: number) => {
  const buffer = Buffer.alloc(2)
  buffer.writeUInt16BE(value)
  return buffer
}
const u32 = (value: number) => {
  const buffer = Buffer.alloc(4)
  buffer.writeUInt32BE(value)
  return buffer
}
const u64 = (value: bigint) => {
  const buffer = Buffer.alloc(8)
  buffer.writeBigUInt64BE(value)
  return buffer
}
const text = (value: string) => Buffer.from(`${value}\0`)
const letter = (value: string) => Buffer.from(value, 'latin1')

export const begin = (commitLSN: bigint, xid: number) =>
  Buffer.concat([letter('B'), u64(commitLSN), u64(0n), u32(xid)])

export const commit = (commitLSN: bigint, endLSN: bigint) =>
  Buffer.concat([letter('C'), u8(0), u64(commitLSN), u64(endLSN), u64(0n)])

export const relation = (oid: number, name: string, identity: string, columns: readonly TestColumn[]) =>
  Buffer.concat([
    letter('R'),
    u32(oid),
    text('public'),
    text(name),
    letter(identity),
    u16(columns.length),
    ...columns.flatMap((column) => [
      u8(column.identity ? 1 : 0),
      text(column.name),
      u32(column.typeOid ?? 25),
      u32(0xffffffff),
    ]),
  ])

export const tuple = (mark: 'N' | 'K' | 'O', values: readonly TestValue[]) =>
  Buffer.concat([
    letter(mark),
    u16(values.length),
    ...values.map((value) => {
      if (value === null) return letter('n')
      if (value === 0) return letter('u')
      const bytes = Buffer.from(value)
      return Buffer.concat([letter('t'), u32(bytes.length), bytes])
    }),
  ])

export const insert = (oid: number, values: readonly TestValue[]) =>
  Buffer.concat([letter('I'), u32(oid), tuple('N', values)])

export const update = (
  oid: number,
  values: readonly TestValue[],
  old?: { readonly mark: 'K' | 'O'; readonly values: readonly TestValue[] },
) => Buffer.concat([letter('U'), u32(oid), ...(old ? [tuple(old.mark, old.values)] : []), tuple('N', values)])

export const remove = (oid: number, mark: 'K' | 'O', values: readonly TestValue[]) =>
  Buffer.concat([letter('D'), u32(oid), tuple(mark, values)])

export const truncate = (...oids: number[]) =>
  Buffer.concat([letter('T'), u32(oids.length), u8(0), ...oids.map(u32)])

export const message = (prefix: string, content: string, transactional = true) =>
  Buffer.concat([
    letter('M'),
    u8(transactional ? 1 : 0),
    u64(0n),
    text(prefix),
    u32(Buffer.byteLength(content)),
    Buffer.from(content),
  ])

/** A message of the backend. */
export const frame = (type: string, body: Buffer) => Buffer.concat([letter(type), u32(body.length + 4), body])

/** A pgoutput message as it travels. */
export const xlogData = (payload: Buffer) =>
  frame('d', Buffer.concat([letter('w'), Buffer.alloc(24), payload]))

export const keepalive = (end: bigint, replyRequested = false) =>
  frame('d', Buffer.concat([letter('k'), u64(end), u64(0n), u8(replyRequested ? 1 : 0)]))
