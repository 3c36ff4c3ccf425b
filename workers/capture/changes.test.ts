import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createChanges, type Pending } from './changes.ts'
import { parseMessage } from './log-messages.ts'
import { createChannel, createOutgoing, RECORD_BYTES, toRecords } from './outgoing.ts'
import * as pg from './pgoutput-fixture.ts'
import { makeRelation } from './relations.ts'
import { createFrameParser } from './wire.ts'

interface Setup {
  readonly key?: readonly string[]
  readonly identity?: string
  readonly exclude?: readonly string[]
}

/** A stream for table t, fed with frames; `lines` takes out what was written, parsed. */
function stream(setup: Setup = {}) {
  const outgoing = createOutgoing()
  const channel = createChannel({ schema: 'public', name: 't' }, 'p.public.t', 'inc')
  let replies = 0
  const truncated: [oid: number, xid: number][] = []
  const changes = createChanges({
    slot: 's',
    epoch: 3,
    outgoing,
    start: 0x10n,
    onStarted() {},
    onReplyRequested() {
      replies += 1
    },
    onTruncate: (...what) => truncated.push(what),
  })
  const parser = createFrameParser(changes.handler)
  const pendings: string[] = []
  const asked: string[] = []

  function feed(bytes: Buffer): void {
    let offset = 0
    do {
      offset = parser.feed(bytes, offset)
      for (let pending = changes.pending(); pending; pending = changes.pending()) answer(pending)
    } while (offset < bytes.length)
  }

  function answer(pending: Pending): void {
    pendings.push(pending.kind)
    if (pending.kind === 'relation') {
      const { message } = pending
      asked.push(message.name)
      const types = message.columns.map(() => 'text')
      const filter = setup.exclude && { exclude: setup.exclude }
      changes.resolveRelation(
        makeRelation(
          message,
          channel,
          { types, behind: new Map(), key: setup.key ?? ['id'], added: new Map() },
          3,
          filter,
        ),
      )
    } else if (pending.kind === 'messages') changes.resolveMessages(pending.messages.map(() => channel))
    else {
      taken.push(...outgoing.take().batches)
      changes.resolveDrain()
    }
  }

  const taken: ReturnType<typeof outgoing.take>['batches'] = []
  const values = () => {
    taken.push(...outgoing.take().batches)
    return taken.splice(0).flatMap((batch) => batch.records)
  }
  return {
    changes,
    channel,
    outgoing,
    pendings,
    asked,
    truncated,
    replies: () => replies,
    feed: (...frames: Buffer[]) => feed(Buffer.concat(frames)),
    feedChunks(bytes: Buffer, size: number) {
      for (let start = 0; start < bytes.length; start += size) feed(bytes.subarray(start, start + size))
    },
    values,
    text: () => Buffer.concat(values().map((record) => record.value)).toString(),
    lines: () =>
      Buffer.concat(values().map((record) => record.value))
        .toString()
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as unknown),
  }
}

const columns = [{ name: 'id', identity: true }, { name: 'a' }, { name: 'b' }]
const described = pg.xlogData(pg.relation(7, 't', 'd', columns))
const header = {
  v: 1,
  inc: 'inc',
  epoch: 3,
  table: ['public', 't'],
  columns: [
    ['id', 'text', 1],
    ['a', 'text', 0],
    ['b', 'text', 0],
  ],
}
const transaction = (tx: string, xid: number) => ({ tx, xid, at: '2000-01-01T00:00:00.000Z' })

describe('rows', () => {
  it('stand behind a header and their transaction, with even sequences', () => {
    const s = stream()
    s.feed(
      pg.xlogData(pg.begin(0x1_0000_0020n, 0xffff_fff0)),
      described,
      pg.xlogData(pg.insert(7, ['1', null, ''])),
      pg.xlogData(pg.update(7, ['1', 0, 'x'])),
      pg.xlogData(pg.remove(7, 'K', ['1', null, null])),
      pg.xlogData(pg.truncate(7, 99)),
      pg.xlogData(pg.commit(0x20n, 0x28n)),
      pg.xlogData(pg.begin(0x30n, 8)),
      pg.xlogData(pg.insert(7, ['2', 'y', 'z'])),
    )
    expect(s.lines()).toEqual([
      header,
      transaction('1/20', 0xffff_fff0),
      ['i', 2, ['1', null, '']],
      ['u', 4, ['1', 0, 'x']],
      ['d', 6, ['1']],
      ['t', 8],
      transaction('0/30', 8),
      ['i', 2, ['2', 'y', 'z']],
    ])
    expect(s.truncated).toEqual([[7, 0xffff_fff0]])
    s.feed(pg.xlogData(pg.insert(7, ['3', '', ''])))
    expect(s.lines()).toEqual([header, transaction('0/30', 8), ['i', 4, ['3', '', '']]])
  })

  it('ask for a table when its first change comes, each time that it was described', () => {
    const s = stream()
    const leaf = (oid: number) => pg.xlogData(pg.relation(oid, `t${oid}`, 'd', columns))
    s.feed(pg.xlogData(pg.begin(1n, 1)), described, leaf(8))
    expect(s.asked).toEqual([])
    s.feed(pg.xlogData(pg.insert(7, ['1', '', ''])), leaf(9), pg.xlogData(pg.insert(7, ['2', '', ''])))
    expect(s.asked).toEqual(['t'])
    s.feed(described, pg.xlogData(pg.truncate(7)), pg.xlogData(pg.insert(7, ['3', '', ''])))
    expect(s.asked).toEqual(['t', 't'])
    s.feed(described, leaf(8), pg.xlogData(pg.truncate(7, 8)))
    expect(s.asked).toEqual(['t', 't', 't', 't8'])
    expect(s.lines().filter(Array.isArray)).toEqual([
      ['i', 2, ['1', '', '']],
      ['i', 4, ['2', '', '']],
      ['t', 6],
      ['i', 8, ['3', '', '']],
      ['t', 10],
      ['t', 12],
    ])
  })

  it('name the old key only where it changed', () => {
    const s = stream()
    const old = (value: string) => ({ mark: 'K', values: [value, null, null] }) as const
    s.feed(pg.xlogData(pg.begin(1n, 1)), described)
    s.feed(pg.xlogData(pg.update(7, ['2', 'a', 'b'], old('1'))))
    // Sent also when the key did not change but lies outside of the row.
    s.feed(pg.xlogData(pg.update(7, [0, 'a', 'b'], old('1'))))
    s.feed(pg.xlogData(pg.update(7, ['1', 'a', 'b'], old('1'))))
    expect(s.lines().slice(2)).toEqual([
      ['u', 2, ['2', 'a', 'b'], ['1']],
      ['u', 4, ['1', 'a', 'b']],
      ['u', 6, ['1', 'a', 'b']],
    ])
  })

  it('with identity full take unchanged values from the old row', () => {
    const s = stream({ key: ['b', 'id'] })
    const full = columns.map((column) => ({ ...column, identity: true }))
    s.feed(pg.xlogData(pg.begin(1n, 1)), pg.xlogData(pg.relation(7, 't', 'f', full)))
    s.feed(pg.xlogData(pg.update(7, ['1', 0, 'k'], { mark: 'O', values: ['1', 'big', 'k'] })))
    s.feed(pg.xlogData(pg.update(7, ['1', 0, 'l'], { mark: 'O', values: ['1', null, 'k'] })))
    s.feed(pg.xlogData(pg.remove(7, 'O', ['1', 'big', 'l'])))
    expect(s.lines().slice(2)).toEqual([
      ['u', 2, ['1', 'big', 'k']],
      ['u', 4, ['1', 0, 'l'], ['k', '1']],
      ['d', 6, ['l', '1']],
    ])
  })

  it('of a table without a key carry the whole old row', () => {
    const s = stream({ key: [] })
    const full = columns.map((column) => ({ ...column, identity: true }))
    s.feed(pg.xlogData(pg.begin(1n, 1)), pg.xlogData(pg.relation(7, 't', 'f', full)))
    s.feed(pg.xlogData(pg.update(7, ['1', 0, 'x'], { mark: 'O', values: ['1', 'a', null] })))
    s.feed(pg.xlogData(pg.remove(7, 'O', ['1', 'a', 'x'])))
    expect(s.lines().slice(2)).toEqual([
      ['u', 2, ['1', 'a', 'x'], ['1', 'a', null]],
      ['d', 4, ['1', 'a', 'x']],
    ])
  })

  it('leave out columns that are not wanted, but never the key', () => {
    const s = stream({ exclude: ['a', 'id'] })
    s.feed(pg.xlogData(pg.begin(1n, 1)), described, pg.xlogData(pg.insert(7, ['1', 'secret', 'b'])))
    const lines = s.lines()
    expect(lines[0]).toMatchObject({
      columns: [
        ['id', 'text', 1],
        ['b', 'text', 0],
      ],
    })
    expect(lines[2]).toEqual(['i', 2, ['1', 'b']])
  })

  it('get a new header in the same run when the table changes', () => {
    const s = stream()
    s.feed(pg.xlogData(pg.begin(1n, 1)), described, pg.xlogData(pg.insert(7, ['1', 'a', 'b'])))
    s.feed(pg.xlogData(pg.relation(7, 't', 'd', columns.slice(0, 2))), pg.xlogData(pg.insert(7, ['2', 'a'])))
    expect(s.lines()).toMatchObject([
      { columns: { length: 3 } },
      {},
      ['i', 2, ['1', 'a', 'b']],
      { columns: { length: 2 } },
      ['i', 4, ['2', 'a']],
    ])
  })

  it('of a table that was never described are refused', () => {
    const s = stream()
    expect(() => s.feed(pg.xlogData(pg.begin(1n, 1)), pg.xlogData(pg.insert(8, ['1'])))).toThrow(
      /not described/,
    )
  })

  it('cut off, too long or with other columns are refused', () => {
    const cut = pg.insert(7, ['1', 'a', 'b'])
    for (const broken of [
      cut.subarray(0, cut.length - 1),
      Buffer.concat([cut, Buffer.from('x')]),
      pg.insert(7, ['1']),
      Buffer.concat([cut.subarray(0, 8), Buffer.from('q'), cut.subarray(9)]),
    ]) {
      const s = stream()
      s.feed(pg.xlogData(pg.begin(1n, 1)), described)
      expect(() => s.feed(pg.xlogData(broken))).toThrow(/cannot read the source's log/)
    }
  })
})

describe('what is written', () => {
  const value = fc.oneof(
    fc.constant(null),
    fc.constant(0 as const),
    fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', '')),
    fc.string({
      unit: fc.constantFrom('"', '\\', '\n', '\u0001', '\u001f', '\u007f', 'é', '🎉', '\u2028', '\ufffe'),
    }),
  )
  const row = fc.tuple(
    fc.string({ unit: 'binary', minLength: 1 }).map((t) => t.replaceAll('\0', '0')),
    value,
    value,
  )

  it('is what was sent, however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(row, { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 97 }),
        (rows, size) => {
          const s = stream()
          s.feedChunks(
            Buffer.concat([
              pg.xlogData(pg.begin(1n, 1)),
              described,
              ...rows.map((values) => pg.xlogData(pg.insert(7, values))),
              pg.keepalive(5n),
              pg.xlogData(pg.commit(1n, 0x99n)),
            ]),
            size,
          )
          expect(s.lines().slice(2)).toEqual(rows.map((values, index) => ['i', (index + 1) * 2, values]))
          expect(s.changes.through()).toBe(0x99n)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('is the same for rows that come piece by piece', () => {
    const large = fc.tuple(
      fc.constantFrom('"\\\n\u0001é🎉', 'x', '\u2028'),
      fc.integer({ min: 300_000, max: 700_000 }),
    )
    const full = columns.map((column) => ({ ...column, identity: true }))
    fc.assert(
      fc.property(
        large,
        value,
        value,
        fc.boolean(),
        fc.integer({ min: 20_000, max: 90_000 }),
        (big, a, b, keyless, size) => {
          const text = big[0].repeat(Math.ceil(big[1] / Buffer.byteLength(big[0])))
          const frames = [
            pg.insert(7, ['1', text, a]),
            pg.update(7, ['1', 0, b], { mark: 'O', values: ['2', text, 'old'] }),
            pg.update(7, ['1', text, b], { mark: 'O', values: ['1', null, 'old'] }),
            pg.remove(7, 'O', ['1', text, null]),
          ]
          const key = keyless ? [] : ['id']
          const whole = (values: readonly pg.TestValue[]) => (keyless ? values : [values[0]])
          const s = stream({ key })
          s.feedChunks(
            Buffer.concat([
              pg.xlogData(pg.begin(1n, 1)),
              pg.xlogData(pg.relation(7, 't', 'f', full)),
              ...frames.map(pg.xlogData),
            ]),
            size,
          )
          const rows = s.lines().filter((line): line is unknown[] => Array.isArray(line))
          expect(rows).toEqual([
            ['i', 2, ['1', text, a]],
            ['u', 4, ['1', text, b === 0 ? 'old' : b], whole(['2', text, 'old'])],
            keyless
              ? ['u', 6, ['1', text, b === 0 ? 'old' : b], ['1', null, 'old']]
              : ['u', 6, ['1', text, b === 0 ? 'old' : b]],
            ['d', 8, whole(['1', text, null])],
          ])
        },
      ),
      { numRuns: 15 },
    )
  })

  it('is split into parts that belong together', () => {
    const s = stream()
    const text = 'é"'.repeat(800_000)
    s.feedChunks(
      Buffer.concat([pg.xlogData(pg.begin(1n, 1)), described, pg.xlogData(pg.insert(7, ['1', text, 'b']))]),
      65_536,
    )
    const records = s.values()
    expect(records.length).toBeGreaterThan(3)
    expect(new Set(records.map((record) => record.headers?.run)).size).toBe(1)
    expect(records.map((record) => record.headers?.part)).toEqual(
      records.map((_, index) => `${index + 1}/${records.length}`),
    )
    for (const record of records) expect(record.value.length).toBeLessThanOrEqual(RECORD_BYTES)
    const lines = Buffer.concat(records.map((record) => record.value))
      .toString()
      .split('\n')
    expect(JSON.parse(lines[2] ?? '')).toEqual(['i', 2, ['1', text, 'b']])
  })

  it('is cut into runs of a bounded size, each readable on its own', () => {
    const s = stream()
    s.feed(pg.xlogData(pg.begin(1n, 1)), described)
    for (let index = 0; index < 400; index += 1) {
      s.feed(pg.xlogData(pg.insert(7, [String(index), 'x'.repeat(1000), null])))
    }
    const records = s.values()
    expect(records.length).toBeGreaterThan(2)
    for (const record of records) {
      expect(record.headers).toBeUndefined()
      expect(record.value.length).toBeLessThan(131_072 + 2_000)
      const lines = record.value.toString().split('\n')
      expect(JSON.parse(lines[0] ?? '')).toEqual(header)
      expect(JSON.parse(lines[1] ?? '')).toEqual(transaction('0/1', 1))
    }
  })
})

describe('control lines', () => {
  const hold = { kind: 'hold', slot: 's', schema: 'public', table: 't', uid: 'u', name: 'n', action: 'Drop' }

  it('carry the end of the commit, stand behind its rows, and end their run', () => {
    const s = stream()
    s.feed(
      pg.xlogData(pg.begin(0x20n, 1)),
      pg.xlogData(pg.message('millrace', JSON.stringify(hold))),
      described,
      pg.xlogData(pg.insert(7, ['1', 'a', 'b'])),
      pg.xlogData(pg.message('other', 'whatever')),
      pg.xlogData(
        pg.message(
          'millrace',
          JSON.stringify({ kind: 'release', slot: 'another', schema: 'public', table: 't', uid: 'u' }),
        ),
      ),
      pg.xlogData(pg.message('millrace', JSON.stringify({ kind: 'heartbeat', slot: 's' }))),
      pg.xlogData(pg.message('millrace', 'no json')),
      pg.xlogData(pg.message('millrace', JSON.stringify(hold), false)),
      pg.xlogData(pg.commit(0x20n, 0x48n)),
    )
    expect(s.changes.through()).toBe(0x48n)
    const records = s.values()
    expect(records).toHaveLength(1)
    const lines = records[0]?.value
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown)
    expect(lines?.slice(2)).toEqual([
      ['i', 4, ['1', 'a', 'b']],
      {
        control: 'hold',
        lsn: '0/48',
        uid: 'u',
        name: 'n',
        action: 'Drop',
        tx: '0/20',
        seq: 14,
        at: '2000-01-01T00:00:00.000Z',
      },
    ])
  })

  it('that capture adds do not shift the changes behind them', () => {
    const write = (withLine: boolean) => {
      const s = stream()
      s.feed(pg.xlogData(pg.begin(0x20n, 1)), described, pg.xlogData(pg.insert(7, ['1', 'a', 'b'])))
      if (withLine)
        s.changes.writeControl(s.channel, { control: 'changed', code: 'TableChanged', message: 'm' })
      s.feed(pg.xlogData(pg.insert(7, ['2', 'a', 'b'])), pg.xlogData(pg.commit(0x20n, 0x28n)))
      s.changes.writeControl(s.channel, { control: 'changed', code: 'TableChanged', message: 'm' })
      return s.lines()
    }
    const rows = (lines: unknown[]) => lines.filter((line) => Array.isArray(line))
    expect(rows(write(true))).toEqual(rows(write(false)))
    const places = write(true)
      .filter((line) => (line as { control?: string }).control)
      .map((line) => line as { tx: string; seq: number })
    expect(places).toMatchObject([
      { tx: '0/20', seq: 3 },
      { tx: '0/27', seq: 0 }, // before any transaction that may commit at 0/28
    ])
  })
})

describe('the position', () => {
  it('moves with commits, and with keepalives only between transactions', () => {
    const s = stream()
    s.feed(pg.keepalive(0x18n, true))
    expect(s.changes.through()).toBe(0x18n)
    expect(s.replies()).toBe(1)
    s.feed(pg.xlogData(pg.begin(0x20n, 1)), described, pg.keepalive(0x1000n))
    expect(s.changes.through()).toBe(0x18n)
    expect(s.changes.sourceEnd()).toBe(0x1000n)
    s.feed(pg.xlogData(pg.commit(0x20n, 0x28n)))
    expect(s.changes.through()).toBe(0x28n)
    s.feed(pg.keepalive(0x1n))
    expect(s.changes.through()).toBe(0x28n)
  })

  it('waits for the queue before a huge row', () => {
    const s = stream()
    s.feed(pg.xlogData(pg.begin(1n, 1)), described, pg.xlogData(pg.insert(7, ['0', 'a', 'b'])))
    s.feedChunks(pg.xlogData(pg.insert(7, ['1', 'x'.repeat(5_000_000), 'b'])), 65_536)
    expect(s.pendings).toContain('drain')
    expect(s.lines()).toHaveLength(3 + 3)
  })

  it("skips others' huge messages but counts them", () => {
    const s = stream()
    s.feedChunks(
      Buffer.concat([
        pg.xlogData(pg.begin(1n, 1)),
        described,
        pg.xlogData(pg.message('other', 'x'.repeat(400_000))),
        pg.xlogData(pg.insert(7, ['0', 'a', 'b'])),
      ]),
      1000,
    )
    expect(s.lines().at(-1)).toEqual(['i', 4, ['0', 'a', 'b']])
  })
})

describe('errors of the server', () => {
  it('carry code and severity', () => {
    const s = stream()
    const body = Buffer.from('SERROR\0VERROR\0C55006\0Mslot is active for PID 42\0\0')
    expect(() => s.feed(pg.frame('E', body))).toThrow(
      expect.objectContaining({ code: '55006', severity: 'ERROR', message: 'slot is active for PID 42' }),
    )
  })

  it('that are no PostgreSQL are refused before memory is taken', () => {
    const s = stream()
    expect(() => s.feed(Buffer.from('HTTP/1.1 400 Bad Request'))).toThrow(/none of PostgreSQL's/)
  })
})

describe('messages', () => {
  it.each([
    ['{"kind":"join","slot":"s","schema":"public","table":"t"}', true],
    ['{"kind":"join","slot":"x","schema":"public","table":"t"}', false],
    ['{"kind":"odd","slot":"s","schema":"public","table":"t"}', false],
    ['{"kind":"join","slot":"s","schema":"public"}', false],
    ['[]', false],
    ['null', false],
    ['"x"', false],
  ])('%s counts: %s', (content, counts) => {
    expect(parseMessage(Buffer.from(content), 's') !== undefined).toBe(counts)
  })
})

describe('toRecords', () => {
  it('keeps all bytes in order, whatever the pieces', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 1_500_000 }), { minLength: 1, maxLength: 6 }),
        (sizes) => {
          const pieces = sizes
            .map((size, index) => Buffer.alloc(size, index + 1))
            .filter((piece) => piece.length > 0)
          fc.pre(pieces.length > 0)
          const records = toRecords(pieces)
          expect(Buffer.concat(records.map((record) => record.value)).equals(Buffer.concat(pieces))).toBe(
            true,
          )
          for (const record of records) expect(record.value.length).toBeLessThanOrEqual(RECORD_BYTES)
        },
      ),
      { numRuns: 50 },
    )
  })
})
