import type { Resource } from './api.ts'

/** Path of a resource's collection in the API, or of one object of it, or of a subresource of that. */
export function resourcePath(resource: Resource, name?: string, subresource?: string): string {
  const group = resource.group === '' ? '/api' : `/apis/${resource.group}`
  const namespace = resource.namespace === undefined ? '' : `/namespaces/${resource.namespace}`
  const tail = [name, subresource].flatMap((part) => (part === undefined ? [] : [encodeURIComponent(part)]))
  return [`${group}/${resource.version}${namespace}/${resource.plural}`, ...tail].join('/')
}

export function apiVersion(resource: Resource): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`
}
