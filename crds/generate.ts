/**
 * Writes what is made from the schemas: the two CustomResourceDefinitions and the API reference.
 *
 *     node crds/generate.ts           writes the files
 *     node crds/generate.ts --check   says which differ, and ends with 1 if any does
 */

import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Document, visit } from 'yaml'
import { GROUP } from './api.ts'
import { customResourceDefinition, type Kind, pipelineKind, tableBackfillKind } from './definition.ts'
import { reference } from './reference.ts'

const ROOT = dirname(import.meta.dirname)
const KINDS = [pipelineKind, tableBackfillKind]

/** What the files should hold, by path in the repository. */
export function generatedFiles(): Map<string, string> {
  return new Map([
    ...KINDS.map((kind): [string, string] => [`crds/${GROUP}_${kind.plural}.yaml`, yaml(kind)]),
    ['docs/reference/api.md', reference(KINDS)],
  ])
}

/** Paths of the files that do not hold what they should. */
export async function driftedFiles(): Promise<string[]> {
  const drifted: string[] = []
  for (const [path, content] of generatedFiles()) {
    const present = await readFile(join(ROOT, path), 'utf8').catch(() => undefined)
    if (present !== content) drifted.push(path)
  }
  return drifted
}

function yaml(kind: Kind): string {
  // Shapes that are used twice would come out as anchors, and long texts folded: neither makes a readable diff.
  const document = new Document(customResourceDefinition(kind), { aliasDuplicateObjects: false })
  visit(document, {
    Scalar(_, scalar) {
      // Expressions with both kinds of quotes are hard to read when quoted once more.
      const text = String(scalar.value)
      if (text.includes("'") && text.includes('"')) scalar.type = 'BLOCK_LITERAL'
    },
  })
  const text = document.toString({ lineWidth: 0 })
  return `# biome-ignore-all format: generated from the schemas in crds/ by crds/generate.ts, do not edit\n${text}`
}

async function write(): Promise<void> {
  for (const [path, content] of generatedFiles()) {
    await mkdir(dirname(join(ROOT, path)), { recursive: true })
    await writeFile(join(ROOT, path), content)
    console.log(path)
  }
}

async function check(): Promise<void> {
  const drifted = await driftedFiles()
  for (const path of drifted) {
    console.error(`${path} is not what the schemas in crds/ give: run \`node crds/generate.ts\``)
  }
  if (drifted.length > 0) process.exitCode = 1
}

if (import.meta.main) await (process.argv.includes('--check') ? check() : write())
