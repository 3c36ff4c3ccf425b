import { edit, integration, type Mutant, model, unit } from '../mutant.ts'
import { PRIMARY, REPLICA, RETYPE, SLOW } from './worlds.ts'

export const APPLYING: readonly Mutant[] = [
  {
    rule: 'R15',
    without: 'skipping changes at or below the last position',
    edits: edit('workers/apply/stream.ts', [
      'if (comparePositions(place, position) <= 0) return undefined\n    const row',
      'if (comparePositions(place, position) < -1e9) return undefined\n    const row',
    ]),
    killer: model(300, { weights: { killCapture: 6, splitCapture: 3 } }),
  },
  {
    rule: 'R16',
    without: 'reading again what a key change left unchanged',
    edits: edit('workers/apply/compact.ts', ['    if (moved) reread = true\n', '']),
    killer: unit('workers/apply/compact.test.ts'),
  },
  {
    rule: 'R17',
    without: 'distrust of rows of unknown history',
    edits: edit('workers/apply/stream.ts', ['unknownHistory: row.unknownHistory', 'unknownHistory: false']),
    killer: model(300, { stale: true, actions: ['DoNothing'] }),
  },
  {
    rule: 'R17',
    without: 'writing what was read before a line is judged by the ledger',
    edits: edit(
      'workers/apply/control.ts',
      ['      await context.barrier()\n      if (line.control', '      if (line.control'],
      ['        const ends', '        await context.barrier()\n        const ends'],
    ),
    killer: integration('apply-hold', 'left while its first rows were not written yet'),
  },
  {
    rule: 'R17',
    without: 'looking at rows that come after the leave',
    edits: edit('workers/apply/stream.ts', [
      "    if (row.state === 'left') facts = { ...facts, ...rowFacts(row) }\n",
      '',
    ]),
    killer: integration('apply-hold', 'left in the middle of a transaction'),
  },
  {
    rule: 'R18',
    without: 'waiting for a replica to be past the change that is read again',
    edits: edit('workers/apply/reread.ts', [
      'if (replayed > wanted) return true',
      'if (replayed > 0n) return true',
    ]),
    killer: model(300, { ...REPLICA, weights: { ...SLOW, cancel: 2 } }),
  },
  {
    rule: 'R18',
    without: 'waiting for the transaction to end on the primary that is read again',
    edits: edit('workers/apply/reread.ts', [
      'while (await isAnyRunning(connection, xids))',
      'while (xids.length < 0 && (await isAnyRunning(connection, xids)))',
    ]),
    killer: model(900, { ...PRIMARY, weights: { visible: 1, cancel: 2 } }),
  },
  {
    rule: 'R18',
    without: 'dropping a change whose row is gone',
    edits: edit(
      'workers/apply/write.ts',
      ['if (!found) {', 'if (!values) {'],
      ['entry.image[index] = found[place] ?? null', 'entry.image[index] = found?.[place] ?? null'],
    ),
    killer: integration('apply-columns', 'come from the row in the destination, else from the source'),
  },
  {
    rule: 'R18',
    without: 'taking away what stood under the key of a row that is gone',
    edits: edit('workers/apply/write.ts', ['gone.push(entry)', '']),
    killer: integration('apply-columns', 'leaves none of before under its key'),
  },
  {
    rule: 'R19',
    without: 'taking a column for unchanged that a change lacks',
    edits: edit('workers/apply/definition.ts', [
      'return further.length === 0 ? definition :',
      'return further.length < 100 ? definition :',
    ]),
    killer: model(900, { seedRows: 4, weights: { addColumn: 1 } }),
  },
  {
    rule: 'R19',
    without: 'the default of an added column in the rows that are there',
    edits: edit('workers/destination/postgres/table-plan.ts', [
      'column.constantDefault === undefined ?',
      'column.constantDefault !== null ?',
    ]),
    killer: unit('workers/destination/postgres/table-plan.test.ts'),
  },
  {
    rule: 'R20',
    without: 'telling of a change that rows do not show',
    edits: edit('workers/capture/catalog-watch.ts', [
      'options.onChange(table, change, remember)',
      'remember()',
    ]),
    killer: model(300, { seedRows: 4, weights: RETYPE }),
  },
  {
    rule: 'R20',
    without: 'never skipping, as known already, what was seen in the catalog',
    edits: edit('workers/apply/facts.ts', [
      "return line.control === 'changed' ? position : undefined",
      'return undefined',
    ]),
    killer: unit('workers/apply/hold.test.ts', 'never skips one, and never moves back'),
  },
  {
    rule: 'R20',
    without: 'carrying on the names of dropped columns',
    edits: edit('workers/capture/fingerprint.ts', [
      '[...(before?.formerNames ?? []), ...known]',
      '[...known]',
    ]),
    killer: unit('workers/capture/fingerprint.test.ts', 'keeps the name of a dropped column'),
  },
  {
    rule: 'R20',
    without: 'comparing the types that the log has with those of the catalog',
    edits: edit('workers/capture/catalog-watch.ts', [
      'const types = compareTypes(asFar, told)',
      'const types = compareTypes(asFar, [])',
    ]),
    killer: integration('capture-unseen', 'before anybody saw it'),
  },
  {
    rule: 'R20',
    without: 'telling what the catalog alone shows before rows are looked at',
    edits: edit('workers/capture/catalog-watch.ts', [
      'if (certain || before.oid !== after.oid)',
      'if (before.oid !== after.oid)',
    ]),
    killer: integration('capture-unseen', 'also while somebody has a partition locked'),
  },
  {
    rule: 'R20',
    without: 'doubting the type of a column that is dropped already',
    edits: edit('workers/capture/doubtful-types.ts', [
      '  for (const { name, type } of after.gone ?? []) {',
      '  for (const { name, type } of [] as GoneColumn[]) {',
    ]),
    killer: integration('capture-unseen', 'and dropped, while capture was down'),
  },
  {
    rule: 'R20',
    without: 'remembering what a table looks like before it joins',
    edits: edit('workers/capture/tables.ts', ['    await directory.save(signal)\n', '']),
    killer: model(300, { seedRows: 4, weights: { ...RETYPE, killCapture: 12, write: 14 } }),
  },
  {
    rule: 'R21',
    without: 'stopping at a change that cannot be applied',
    edits: edit('workers/apply/facts.ts', [
      '      return stopFacts(line.code, line.message)\n',
      '      return {}\n',
    ]),
    killer: model(300, { seedRows: 4, weights: RETYPE }),
  },
  {
    rule: 'R21',
    without: 'a cure that waits behind a backfill which waits for the table',
    edits: edit('workers/apply/cure.ts', [
      ' || (begun.length > 0 && wanted.some((one) => empties(one) && waits(one)))',
      '',
    ]),
    killer: unit('workers/apply/cure.test.ts', 'one that waits behind a copy on top'),
  },
  {
    rule: 'R21',
    without: 'failing what is being drained when its table stops',
    edits: edit('workers/apply/facts.ts', [
      "line.control === 'gap' || line.control === 'changed' || line.control === 'leave'",
      "line.control === 'leave'",
    ]),
    killer: integration('apply-gaps', 'a gap fails what is being drained'),
  },
]
