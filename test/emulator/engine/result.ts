import { RedshiftError, UnknownToEmulator } from '../sql/errors.ts'
import { HOME, redshiftName } from '../sql/names.ts'
import type { Backend } from './backends.ts'
import type { FieldInfo } from './session.ts'

/** One value as the Data API sends it; numbers that a double would spoil stay text. */
export type Field =
  | { readonly isNull: true }
  | { readonly booleanValue: boolean }
  | { readonly longValue: string }
  | { readonly doubleValue: number }
  | { readonly stringValue: string }

export interface ResultColumn {
  readonly name: string
  readonly typeName: string
  readonly schemaName: string
  readonly tableName: string
  /** 1 when NULL may come, 0 when not. */
  readonly nullable: number
  readonly precision: number
  readonly scale: number
  readonly length: number
  readonly isSigned: boolean
  readonly isCaseSensitive: boolean
}

export interface ResultSet {
  readonly columns: readonly ResultColumn[]
  readonly rows: readonly (readonly Field[])[]
  readonly bytes: number
}

export interface ResultLimits {
  /** Bytes of one row of a result. */
  readonly rowBytes: number
  /** Bytes of a whole result. */
  readonly resultBytes: number
}

interface TypeFacts {
  readonly name: string
  convert(text: string): Field
  readonly signed?: boolean
  readonly text?: boolean
}

const asString = (text: string): Field => ({ stringValue: text })
const asLong = (text: string): Field => ({ longValue: text })
const asDouble = (text: string): Field => ({ doubleValue: Number(text) })

/** PostgreSQL's types by number, as they come out of the emulator's tables and functions. */
const TYPES: Record<number, TypeFacts> = {
  16: { name: 'bool', convert: (text) => ({ booleanValue: text === 't' }) },
  17: { name: 'varbyte', convert: (text) => ({ stringValue: text.slice(2) }) },
  19: { name: 'varchar', convert: asString, text: true },
  20: { name: 'int8', convert: asLong, signed: true },
  21: { name: 'int2', convert: asLong, signed: true },
  23: { name: 'int4', convert: asLong, signed: true },
  25: { name: 'varchar', convert: asString, text: true },
  26: { name: 'oid', convert: asLong },
  28: { name: 'xid', convert: asString },
  700: { name: 'float4', convert: asDouble, signed: true },
  701: { name: 'float8', convert: asDouble, signed: true },
  705: { name: 'varchar', convert: asString, text: true },
  1042: { name: 'varchar', convert: asString, text: true },
  1043: { name: 'varchar', convert: asString, text: true },
  1082: { name: 'date', convert: asString },
  1083: { name: 'time', convert: asString },
  1114: { name: 'timestamp', convert: asString },
  1184: { name: 'timestamptz', convert: asString },
  1186: { name: 'interval', convert: asString },
  1266: { name: 'timetz', convert: asString },
  1700: { name: 'numeric', convert: asString, signed: true },
  3802: { name: 'super', convert: (text) => ({ stringValue: compactJson(text) }), text: true },
}

/** Takes out the blanks that PostgreSQL puts between the parts of JSON; strings stay as they are. */
export function compactJson(text: string): string {
  return text.replaceAll(/("(?:[^"\\]|\\.)*")|\s+/g, (_, string: string | undefined) => string ?? '')
}

export function convertRows(
  rows: readonly (readonly (string | null)[])[],
  fields: readonly FieldInfo[],
  limits: ResultLimits,
): { rows: Field[][]; bytes: number } {
  const types = fields.map(typeFacts)
  let bytes = 0
  const converted = rows.map((row) => {
    let rowBytes = 0
    const values = row.map((value, index): Field => {
      if (value === null) return { isNull: true }
      rowBytes += Buffer.byteLength(value)
      return (types[index] as TypeFacts).convert(value)
    })
    if (rowBytes > limits.rowBytes) {
      throw new RedshiftError('XX000', `Packet for query is too large (${rowBytes} > ${limits.rowBytes})`)
    }
    bytes += rowBytes
    if (bytes > limits.resultBytes) {
      throw new RedshiftError('XX000', `Database response exceeded size limit (${limits.resultBytes} bytes)`)
    }
    return values
  })
  return { rows: converted, bytes }
}

function typeFacts(field: FieldInfo): TypeFacts {
  const facts = TYPES[field.dataTypeID]
  if (!facts)
    throw new UnknownToEmulator(`what Redshift makes of PostgreSQL's type ${field.dataTypeID} in a result`)
  return facts
}

interface Origin {
  readonly schema: string
  readonly table: string
  readonly kind: string
  readonly length: number | null
  readonly scale: number | null
  readonly notNull: boolean
}

/** Describes the columns of a result; those that come straight from a table with that table's types. */
export async function describeColumns(
  backend: Backend,
  fields: readonly FieldInfo[],
): Promise<ResultColumn[]> {
  const origins = await readOrigins(backend, fields)
  return fields.map((field) => describe(field, origins.get(`${field.tableID}.${field.columnID}`)))
}

async function readOrigins(backend: Backend, fields: readonly FieldInfo[]): Promise<Map<string, Origin>> {
  const tables = [...new Set(fields.map(({ tableID }) => tableID).filter((oid) => oid > 0))]
  if (tables.length === 0) return new Map()
  const { rows } = await backend.query(
    `select relation, attnum, schema_name, table_name, kind, length, scale, not_null
     from ${HOME}.user_columns where relation = any($1::oid[])`,
    [tables],
  )
  return new Map(
    rows.map(([oid, attnum, schema, table, kind, length, scale, notNull]) => [
      `${oid}.${attnum}`,
      {
        schema: schema ?? '',
        table: table ?? '',
        kind: kind ?? '',
        length: length == null ? null : Number(length),
        scale: scale == null ? null : Number(scale),
        notNull: notNull === 't',
      },
    ]),
  )
}

const FIXED_PRECISION: Record<string, number> = {
  bool: 1,
  int2: 5,
  int4: 10,
  int8: 19,
  float4: 8,
  float8: 17,
  date: 13,
  time: 15,
  timetz: 21,
  timestamp: 29,
  timestamptz: 35,
}
const MAX_LENGTH: Record<string, number> = { varchar: 65_535, super: 16_777_216, varbyte: 16_777_216 }

function describe(field: FieldInfo, origin: Origin | undefined): ResultColumn {
  const facts = typeFacts(field)
  const typeName = facts.name === 'varchar' && isChar(field, origin) ? 'bpchar' : facts.name
  const length = origin?.length ?? MAX_LENGTH[typeName] ?? 0
  const numeric = numericSize(field, origin)
  return {
    name: redshiftName(field.name),
    typeName,
    schemaName: origin?.schema ?? '',
    tableName: origin?.table ?? '',
    nullable: origin?.notNull ? 0 : 1,
    precision: typeName === 'numeric' ? numeric.precision : (FIXED_PRECISION[typeName] ?? length),
    scale: typeName === 'numeric' ? numeric.scale : 0,
    length: typeName === 'varchar' || typeName === 'bpchar' || MAX_LENGTH[typeName] ? length : 0,
    isSigned: facts.signed ?? false,
    isCaseSensitive: facts.text ?? false,
  }
}

const isChar = (field: FieldInfo, origin: Origin | undefined) =>
  origin ? origin.kind === 'char' : field.dataTypeID === 1042 && field.dataTypeModifier > 0

function numericSize(field: FieldInfo, origin: Origin | undefined): { precision: number; scale: number } {
  if (origin?.kind === 'numeric') return { precision: origin.length ?? 18, scale: origin.scale ?? 0 }
  const modifier = field.dataTypeModifier - 4
  return modifier < 0 ? { precision: 38, scale: 0 } : { precision: modifier >> 16, scale: modifier & 0x7ff }
}
