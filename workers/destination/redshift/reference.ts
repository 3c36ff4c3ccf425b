/**
 * Writes docs/reference/redshift-types.md from the mapping in types.ts.
 *
 *     node workers/destination/redshift/reference.ts
 */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MAPPING, type TypeEntry } from './types.ts'

export const REFERENCE = 'docs/reference/redshift-types.md'

/** The reference as Markdown. */
export function typesReference(): string {
  return `<!-- biome-ignore-all format: generated from workers/destination/redshift/types.ts by reference.ts there, do not edit -->

# PostgreSQL types in Amazon Redshift

What a column becomes when Millrace makes the table, and which values do not fit it. The same value becomes the same,
whether it came by a backfill or by a change.

What happens to a value that does not fit is said by \`spec.destination.redshift.onUnfit\`:

- \`Truncate\` (the default) stores the nearest value that fits, as the last column of the table says
- \`Null\` stores NULL
- \`Fail\` stops the table with \`ValueRejected\` and names the column

Values that were changed are counted by column. A value of a key is never changed: one that does not fit stops the table
whatever the policy, and \`spec.destination.redshift.tables[].columns[].type\` gives the column another type.

A domain is stored as its base type. Text is UTF-8; NUL does not occur, because PostgreSQL has none in a text. All characters of
Unicode are kept, those too that are none (U+FFFE, U+FFFF). A text with \`<~mr:\` in it does not fit either, nor does \`<~mr>\`:
Millrace uses them to mark values and NULLs on their way.

| PostgreSQL | Redshift | does not fit | with \`Truncate\` | |
|---|---|---|---|---|
${MAPPING.map(line).join('\n')}

SUPER and VARBYTE share what COPY allows for a line, 4 MB: a table with several such columns holds smaller values in each. A row
whose columns together are larger than 4 MB is refused by COPY and stops the table.

\`VARCHAR(n)\` for any column and \`NUMERIC(p,s)\` for numbers can be asked for by column:

\`\`\`yaml
destination:
  redshift:
    tables:
      - schema: public
        name: orders
        columns:
          - { name: valid_until, type: VARCHAR(32) }
          - { name: rate, type: "NUMERIC(38,24)" }
\`\`\`
`
}

function line({ types, redshift, unfit, nearest, note }: TypeEntry): string {
  return `| ${[types.join(', '), redshift, unfit, nearest, note ?? ''].map(cell).join(' | ')} |`
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}

if (import.meta.main) {
  await writeFile(join(import.meta.dirname, '../../..', REFERENCE), typesReference())
  console.log(REFERENCE)
}
