import { describe, expect, it } from 'vitest'
import { checkHistory } from './check.ts'
import {
  type Event,
  type LedgerEvent,
  type LedgerRow,
  MOVE_SLOT,
  type RunLine,
  type WriteEvent,
} from './events.ts'
import {
  broken,
  commit,
  control,
  insert,
  isLedger,
  isWrite,
  life,
  remove,
  run,
  shown,
  T,
  TABLE,
  to,
  update,
} from './life.ts'

describe('allows that', () => {
  it('a suspended backfill waits while another one runs', () => {
    const waiting = shown(330, 'Preparing', '', { uid: 'v', name: 'v', waits: true })
    const going = shown(331, 'Preparing', '', { uid: 'w', name: 'w', table: 'public.other' })
    expect(checkHistory([...life(), waiting, going])).toEqual([])
  })

  it('a change of the catalog stands among changes that were sent before a restart', () => {
    const changed = run(7, 165, control('changed', '0/700', '', ''))
    const repeated = run(8, 166, { tx: '0/700', xid: 50, sequences: [1] })
    const among = { ...changed, lines: [{ ...(changed.lines[0] as RunLine), seq: 0 } as RunLine] }
    expect(checkHistory([...life(), among, repeated])).toEqual([])
  })

  it('single columns of a row are newer than the position, and none older', () => {
    const withRow = (image: string) => {
      const events = life().map((event) => {
        const text = JSON.stringify(event)
        return JSON.parse(text.replaceAll('"a2"', '"a.2.2"').replaceAll('"a1"', '"a.1.1"')) as Event
      })
      const at = events.findIndex((event) => event.kind === 'write' && event.at === 260)
      events[at] = { ...(events[at] as WriteEvent), change: insert(image) }
      return [...events, commit(60, '0/910', update('a.2.2', 'a.3.3'))]
    }
    const stale = /never stale.*that the source never had/
    expect(checkHistory(withRow('a.2.3')).join('\n')).not.toMatch(stale)
    expect(checkHistory(withRow('a.2.1')).join('\n')).toMatch(stale)
    expect(checkHistory(withRow('a.2.4')).join('\n')).toMatch(stale)
    expect(checkHistory(withRow('b.2.3')).join('\n')).toMatch(stale)
  })

  it('a slot that was moved by hand, and went back before anybody saw it, was not acknowledged', () => {
    const moved = broken((event) => event.kind === 'slot' && event.at === 116, to({ confirmed: '0/500' }))
    const struck = (what: string): Event => ({ kind: 'struck', at: 115, what })
    const told = (what: string) => checkHistory([...moved, struck(MOVE_SLOT), struck(what)]).join('\n')
    expect(told(`${MOVE_SLOT}: 0/500`)).not.toMatch(/acknowledged after recorded/)
    expect(told(`${MOVE_SLOT}: 0/400`)).toMatch(/acknowledged after recorded/)
  })

  it('what begins before the slot after a gap is not in the queue, and all that begins behind it is', () => {
    const gap = (ends: string) => [
      ...life(),
      run(7, 165, { control: 'gap', tx: '0/8FF', seq: 0, lsn: '', uid: '' }),
      commit(60, ends, insert('y1')),
      commit(61, '0/990', insert('z1')),
      run(8, 175, { tx: '0/980', xid: 61, sequences: [1] }),
    ]
    const incomplete = /I1 the queue is complete.*0 of 1 changes of transaction 60/
    expect(checkHistory(gap('0/900')).join('\n')).not.toMatch(incomplete)
    expect(checkHistory(gap('0/901')).join('\n')).toMatch(incomplete)
  })

  it('a table that is told of a gap before it joins has nothing in the queue between the two', () => {
    const told = (first: Event) => [
      ...life().filter((event) => event.kind !== 'run'),
      first,
      run(1, 101, { control: 'gap', tx: '0/0FF', seq: 0, lsn: '', uid: '' }),
      commit(60, '0/110', insert('y1')),
      run(2, 102, { control: 'changed', tx: '0/120', seq: 0, lsn: '', uid: '' }),
    ]
    const incomplete = /I1 the queue is complete.*0 of 1 changes of transaction 60/
    const join = run(0, 100, { control: 'join', tx: '0/0F0', seq: 0, lsn: '0/0F0', uid: '' })
    const leave = run(0, 100, { control: 'leave', tx: '0/0F0', seq: 0, lsn: '', uid: '' })
    const first = run(0, 100, { control: 'gap', tx: '0/0F0', seq: 0, lsn: '', uid: '' })
    expect(checkHistory(told(first)).join('\n')).not.toMatch(incomplete)
    expect(checkHistory(told(leave)).join('\n')).not.toMatch(incomplete)
    expect(checkHistory(told(join)).join('\n')).toMatch(incomplete)
  })

  it('a transaction of both sides of a leave is half in a topic that begins behind it', () => {
    const state = (name: string) => [
      ...life().filter((event) => event.kind !== 'run' || event.offset > 3),
      {
        ...(life().find(isLedger('tables', 290)) as LedgerEvent),
        at: 289,
        new: { ...TABLE, version: 5, next_offset: 4, lsn: '0/400', state: name },
      },
      commit(60, '0/910', insert('y1'), remove('y1')),
      run(7, 165, { tx: '0/900', xid: 60, sequences: [1] }),
      commit(61, '0/990', insert('z1')),
      run(8, 175, { tx: '0/980', xid: 61, sequences: [1] }),
    ]
    const incomplete = /I1 the queue is complete.*1 of 2 changes of transaction 60/
    expect(checkHistory(state('active') as Event[]).join('\n')).toMatch(incomplete)
    expect(checkHistory(state('left') as Event[]).join('\n')).not.toMatch(incomplete)
  })

  it('a row is newer than the position, as after a re-read', () => {
    const events = broken(isWrite(300), to({ change: remove('b1') } as Partial<Event>))
    const later = [
      commit(60, '0/910', update('c1', 'c2')),
      run(7, 165, { tx: '0/900', xid: 60, sequences: [1] }),
    ]
    const last = events.findLast(isLedger('tables', 310)) as LedgerEvent
    const before = last.new as LedgerRow
    const step: LedgerEvent = {
      ...last,
      at: 320,
      id: 2000,
      tx: 'x',
      old: before,
      new: { ...before, version: Number(before.version) + 1, lsn: '0/850' },
    }
    const newer: Event = { kind: 'write', at: 320, id: 2001, tx: 'x', table: T, change: update('c1', 'c2') }
    expect(checkHistory([...events, ...later, step, newer])).toEqual([])
  })

  it('what was sent twice is there once, the front of the topic being deleted', () => {
    const left = life().filter((event) => event.kind !== 'run' || event.offset >= 4)
    const again = run(
      7,
      180,
      { tx: '0/400', xid: 30, sequences: [1] },
      { tx: '0/500', xid: 40, sequences: [1] },
    )
    const last = left.findLastIndex(({ kind }) => kind === 'run')
    expect(checkHistory(left.toSpliced(last + 1, 0, again))).toEqual([])
  })

  it('the destination tells nothing, as Redshift does', () => {
    const events = life().filter(({ kind }) => kind !== 'ledger' && kind !== 'write')
    expect(checkHistory(events)).toEqual([])
  })

  it('a change before the join is not in the queue', () => {
    expect(life().some((event) => event.kind === 'commit' && event.xid === 10)).toBe(true)
    expect(checkHistory(life())).toEqual([])
  })
})
