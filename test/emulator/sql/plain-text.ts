import type { DataType, Expr } from './ast.ts'
import { sqlString } from './names.ts'
import { bareTypeName } from './types.ts'

/** A default as the system views show it: a constant with its type, or the call of a function. */
export function plainText(value: Expr, type: DataType): string {
  switch (value.kind) {
    case 'string':
      return `${sqlString(value.value)}::${bareTypeName(type.kind)}`
    case 'number':
      return value.text
    case 'boolean':
      return String(value.value)
    case 'null':
      return `NULL::${bareTypeName(type.kind)}`
    case 'cast':
      return value.value.kind === 'string'
        ? plainText(value.value, value.type)
        : `${plainText(value.value, type)}::${bareTypeName(value.type.kind)}`
    case 'unary':
      return `${value.operator}${plainText(value.value, type)}`
    case 'call':
      return `${value.name}(${value.args.map((arg) => plainText(arg, type)).join(', ')})`
    default:
      return `(${value.kind})`
  }
}
