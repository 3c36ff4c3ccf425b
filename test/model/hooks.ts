import { registerHooks } from 'node:module'

/** The four files through which workers reach the outside, and what takes their place. */
const INSTEAD: Readonly<Record<string, string>> = {
  'workers/source/connect.ts': 'connect.ts',
  'workers/capture/replication.ts': 'replication.ts',
  'workers/queue/kafka.ts': 'kafka.ts',
  'workers/destination/open.ts': 'open.ts',
}

const root = new URL('../../', import.meta.url).href

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context)
    const name = resolved.url.startsWith(root) ? INSTEAD[resolved.url.slice(root.length)] : undefined
    return name === undefined
      ? resolved
      : { ...resolved, url: new URL(`test/model/instead/${name}`, root).href }
  },
})
