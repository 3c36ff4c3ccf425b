/**
 * A small language for the schemas of the custom resources. One definition gives both the TypeScript type
 * (`Infer`) and the structural OpenAPI schema that the API server enforces, so the two cannot drift apart.
 *
 * A field is required, unless it is wrapped in `optional` or has a default. A field with a default is present in
 * every object that the API server hands out, which is why `Infer` makes it required while `Input`, the type of
 * what a person writes, leaves it optional.
 */

import { matching } from './rules.ts'

/** One CEL rule. `message` names the field and the cure; the API server puts the path before it. */
export interface Rule {
  rule: string
  message: string
  /** CEL expression for the message. `message` is taken where it fails. */
  messageExpression?: string
  /** Path of the offending field below the place of the rule, `.destination` for example. */
  fieldPath?: string
}

/** The subset of JSON Schema that a structural schema of Kubernetes consists of. */
export interface OpenApiSchema {
  type?: 'object' | 'string' | 'integer' | 'boolean' | 'array'
  description?: string
  format?: string
  default?: unknown
  enum?: readonly string[]
  pattern?: string
  minimum?: number
  maximum?: number
  minLength?: number
  maxLength?: number
  minItems?: number
  maxItems?: number
  maxProperties?: number
  properties?: Record<string, OpenApiSchema>
  required?: string[]
  items?: OpenApiSchema
  additionalProperties?: OpenApiSchema
  anyOf?: OpenApiSchema[]
  'x-kubernetes-int-or-string'?: true
  'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map'
  'x-kubernetes-list-map-keys'?: readonly string[]
  'x-kubernetes-map-type'?: 'atomic' | 'granular'
  'x-kubernetes-validations'?: readonly Rule[]
}

type Presence = 'required' | 'defaulted' | 'optional'

/** A schema that describes values of type `Stored` and is written by people as `Written`. */
export interface Schema<Stored, Written = Stored, P extends Presence = Presence> {
  readonly openApi: OpenApiSchema
  readonly presence: P
  /** Exists in the type only, so that `Infer` and `Input` have something to read. */
  readonly types?: { stored: Stored; written: Written }
}

/** The type of a value as the API server stores it: defaults filled in. */
export type Infer<S> = S extends Schema<infer Stored, infer _Written> ? Stored : never

/** The type of a value as a person may write it: what has a default may be left out. */
export type Input<S> = S extends Schema<infer _Stored, infer Written> ? Written : never

interface Common<T> {
  description?: string
  default?: T
  rules?: readonly Rule[] | undefined
}

interface StringOptions extends Common<string> {
  minLength?: number
  maxLength?: number
  pattern?: string
  /** Like `pattern`, but a value that does not match gets this message in place of the bare expression. */
  matches?: { pattern: string; message: string }
  format?: 'date-time'
}

interface IntegerOptions extends Common<number> {
  min?: number
  max?: number
}

interface ListOptions extends Common<readonly unknown[]> {
  minItems?: number
  maxItems?: number
}

interface MapOptions extends Common<Record<string, unknown>> {
  maxProperties?: number
}

type PresenceOf<O> = O extends { default: unknown } ? 'defaulted' : 'required'

/** A string; without `minLength` the empty one is refused, since no field of the API has a use for it. */
export function string<const O extends StringOptions>(options: O): Schema<string, string, PresenceOf<O>> {
  const { maxLength, pattern, format, matches } = options
  const { minLength = format || pattern || matches ? undefined : 1 } = options
  const rules = matches
    ? [...(options.rules ?? []), matching(matches.pattern, matches.message)]
    : options.rules
  return make({ ...options, rules }, { type: 'string', format, minLength, maxLength, pattern })
}

/** A 64-bit integer. Values come from JavaScript, so they stay exact up to 2^53. */
export function integer<const O extends IntegerOptions>(options: O): Schema<number, number, PresenceOf<O>> {
  return make(options, { type: 'integer', format: 'int64', minimum: options.min, maximum: options.max })
}

/** true or false. */
export function boolean<const O extends Common<boolean>>(
  options: O,
): Schema<boolean, boolean, PresenceOf<O>> {
  return make(options, { type: 'boolean' })
}

/** One of a fixed list of words. */
export function oneOf<const V extends string, const O extends Common<V>>(
  values: readonly V[],
  options: O,
): Schema<V, V, PresenceOf<O>> {
  return make(options, { type: 'string', enum: values })
}

/** A resource quantity such as `500m`, `2` or `1Gi`. */
export function quantity(): Schema<string | number, string | number, 'required'> {
  const pattern = '^[+-]?([0-9]+|[0-9]+[.][0-9]*|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$'
  return make(
    {},
    {
      anyOf: [{ type: 'integer' }, { type: 'string' }],
      pattern,
      maxLength: 32,
      'x-kubernetes-int-or-string': true,
    },
  )
}

/** A list that is replaced as a whole. */
export function list<S, W, const O extends ListOptions>(
  items: Schema<S, W>,
  options: O,
): Schema<S[], W[], PresenceOf<O>> {
  return listOf('atomic', items, options)
}

/** A list of scalars in which none occurs twice. */
export function set<S, W, const O extends ListOptions>(
  items: Schema<S, W>,
  options: O,
): Schema<S[], W[], PresenceOf<O>> {
  return listOf('set', items, options)
}

/** An ordered list of objects in which no two have the same keys, merged by key in server-side apply. */
export function listMap<S extends object, W, const O extends ListOptions>(
  items: Schema<S, W>,
  keys: readonly (keyof S & string)[],
  options: O,
): Schema<S[], W[], PresenceOf<O>> {
  return make(options, { ...listOf('map', items, options).openApi, 'x-kubernetes-list-map-keys': keys })
}

/** A map from free names to values. */
export function map<S, W, const O extends MapOptions>(
  values: Schema<S, W>,
  options: O,
): Schema<Record<string, S>, Record<string, W>, PresenceOf<O>> {
  const { maxProperties } = options
  return make(options, { type: 'object', maxProperties, additionalProperties: values.openApi })
}

type Fields = Record<string, Schema<unknown, unknown>>

type KeysThatAre<F extends Fields, P extends Presence> = {
  [K in keyof F]: F[K]['presence'] extends P ? K : never
}[keyof F]

// Undefined is admitted beside absence because objects are built in one expression and JSON drops it anyway.
type StoredObject<F extends Fields> = Flatten<
  { [K in KeysThatAre<F, 'required' | 'defaulted'>]: Infer<F[K]> } & {
    [K in KeysThatAre<F, 'optional'>]?: Infer<F[K]> | undefined
  }
>

type WrittenObject<F extends Fields> = Flatten<
  { [K in KeysThatAre<F, 'required'>]: Input<F[K]> } & {
    [K in KeysThatAre<F, 'optional' | 'defaulted'>]?: Input<F[K]> | undefined
  }
>

type Flatten<T> = { [K in keyof T]: T[K] }

interface ObjectOptions extends Common<Record<string, unknown>> {
  /** An atomic object has one owner in server-side apply and is replaced as a whole. */
  atomic?: true
}

/** An object with named fields. `default: {}` makes it present even when it is left out. */
export function object<const F extends Fields, const O extends ObjectOptions>(
  fields: F,
  options: O,
): Schema<StoredObject<F>, WrittenObject<F>, PresenceOf<O>> {
  const entries = Object.entries(fields)
  const required = entries.filter(([, field]) => field.presence === 'required').map(([name]) => name)
  return make(options, {
    type: 'object',
    'x-kubernetes-map-type': options.atomic ? 'atomic' : undefined,
    required: required.length > 0 ? required : undefined,
    properties: Object.fromEntries(entries.map(([name, field]) => [name, field.openApi])),
  })
}

/** Marks a field that may be absent from what the API server stores. */
export function optional<S, W>(schema: Schema<S, W>): Schema<S, W, 'optional'> {
  return { openApi: schema.openApi, presence: 'optional' }
}

/** The same schema with another description or further rules, for a shape that is used in several places. */
export function described<S, W, P extends Presence>(
  schema: Schema<S, W, P>,
  options: { description: string; rules?: readonly Rule[] },
): Schema<S, W, P> {
  const rules = [...(schema.openApi['x-kubernetes-validations'] ?? []), ...(options.rules ?? [])]
  const openApi = defined({
    ...schema.openApi,
    description: options.description,
    'x-kubernetes-validations': rules.length > 0 ? rules : undefined,
  })
  return { ...schema, openApi }
}

function listOf<S, W, const O extends ListOptions>(
  listType: 'atomic' | 'set' | 'map',
  items: Schema<S, W>,
  options: O,
): Schema<S[], W[], PresenceOf<O>> {
  const { minItems, maxItems } = options
  return make(options, {
    type: 'array',
    'x-kubernetes-list-type': listType,
    minItems,
    maxItems,
    items: items.openApi,
  })
}

type Loose<T> = { [K in keyof T]?: T[K] | undefined }

function make<S, W, O extends Common<unknown>>(
  options: O,
  own: Loose<OpenApiSchema>,
): Schema<S, W, PresenceOf<O>> {
  const presence = options.default === undefined ? 'required' : 'defaulted'
  const openApi = defined({
    description: options.description,
    default: options.default,
    ...own,
    'x-kubernetes-validations': options.rules,
  })
  return { openApi, presence: presence as PresenceOf<O> }
}

/** Without the keys that are undefined, so that they do not show in the YAML. */
function defined(schema: Loose<OpenApiSchema>): OpenApiSchema {
  return Object.fromEntries(Object.entries(schema).filter(([, value]) => value !== undefined))
}
