import type { Random } from '../../torture/random.ts'
import { between, hexNoise, noise } from '../random.ts'
import { type FuzzType, keyed, plain } from './type.ts'
import {
  anyDate,
  anyText,
  anyTime,
  BITS,
  DATES,
  DOCUMENTS,
  DOUBLES,
  INTERVALS,
  JSON_NUMBERS,
  NUMERICS,
  REALS,
  ROUNDED_TIMESTAMPS,
  ROUNDED_ZONED_TIMESTAMPS,
  TEXTS,
  TIMESTAMPS,
  ZONED_TIMESTAMPS,
} from './values.ts'

const whole = (most: number) => (random: Random) => String(between(random, -most, most))
const text = { generate: anyText, large: true }
const shortText = (least: number, most: number) => ({
  generate: (random: Random) => noise(random, between(random, least, most)),
})
const document = {
  generate: (random: Random) =>
    JSON.stringify({ a: noise(random, random.chance(0.3) ? 5000 : 5), b: random.below(10) }),
  large: true,
}

const NUMBERS = [
  keyed('smallint', '0¦1¦-1¦32767¦-32768¦7'),
  keyed('integer', '0¦1¦-1¦2147483647¦-2147483648¦42', { generate: whole(1000) }),
  keyed('bigint', '0¦1¦-1¦9223372036854775807¦-9223372036854775808¦9007199254740993', {
    generate: whole(100_000),
  }),
  keyed('numeric', NUMERICS, {
    generate: (random) => `${between(random, -9, 9)}.${'0'.repeat(between(random, 1, 4))}`,
  }),
  keyed('numeric(12,3)', '0¦1.5¦-99999999.999¦NaN¦1.500', {
    generate: (random) => `${between(random, -9999, 9999)}.${random.below(1000)}`,
  }),
  keyed('numeric(5,-2)', '0¦12300¦-9999900¦NaN'),
  keyed('numeric(2,5)', '0¦0.00099¦-0.00001'),
  plain('numeric(1000,500)', '0¦1e400¦-1e-400¦NaN'),
  keyed('real', REALS),
  keyed('double precision', DOUBLES, {
    generate: (random) => String(random.next() * 10 ** between(random, -300, 300)),
  }),
  keyed('money', '0¦1.5¦-1.50¦92233720368547758.07¦-92233720368547758.08'),
  keyed('boolean', 't¦f'),
]

const CHARACTERS = [
  keyed('text', TEXTS, text),
  keyed('character varying', TEXTS, text),
  keyed('character varying(7)', '¦a¦a ¦abcdefg¦😀😀¦ ', shortText(0, 7)),
  keyed('character(5)', '¦a¦a ¦ab¦abcde¦ a¦😀¦\t¦a\n', shortText(1, 5)),
  keyed('character', '¦a¦ ¦é'),
  keyed('bpchar', '¦a¦a   ¦ ¦abc¦a\t ', {
    generate: (random) => noise(random, between(random, 1, 9)) + ' '.repeat(random.below(4)),
  }),
  keyed('"char"', `¦a¦Z¦\\¦\\303¦\\001¦ ¦"¦'`),
  keyed('name', ['', 'a', 'A b', '"', '\\', 'ünïcode', 'abcdefg'.repeat(9)], shortText(1, 20)),
  keyed('bytea', '\\x¦\\x00¦\\xff00¦\\xdeadbeef¦\\x5c¦\\x27¦\\x0a¦\\x41', {
    generate: (random) => `\\x${hexNoise(random, random.chance(0.2) ? 8000 : 2 * random.below(31))}`,
    large: true,
  }),
]

const TIMES = [
  keyed('date', DATES, { generate: anyDate }),
  keyed('timestamp', TIMESTAMPS, { generate: (random) => `${anyDate(random)} ${anyTime(random)}` }),
  keyed('timestamp(0)', ROUNDED_TIMESTAMPS),
  keyed('timestamptz', ZONED_TIMESTAMPS, {
    generate: (random) => `${anyDate(random, 1800)} ${anyTime(random)}+0${random.below(10)}:30`,
  }),
  keyed('timestamptz(3)', ROUNDED_ZONED_TIMESTAMPS),
  keyed('time', '00:00:00¦24:00:00¦23:59:59.999999¦12:34:56.7', { generate: anyTime }),
  keyed('time(2)', '00:00:00¦24:00:00¦23:59:59.99'),
  keyed(
    'timetz',
    '00:00:00+00¦24:00:00+00¦23:59:59.999999-15:59¦12:34:56.7+05:45:12¦24:00:00-15:59¦01:00:00+01',
  ),
  keyed('interval', INTERVALS, {
    generate: (random) =>
      `${between(random, -50, 50)} mons ${between(random, -50, 50)} days ${between(random, -50, 50)} seconds`,
  }),
  keyed('interval year to month', '1 year¦12 mons¦-3 mons¦0'),
  keyed('interval second(2)', '1.25 seconds¦1 day¦0'),
]

const BITS_AND_ADDRESSES = [
  keyed('uuid', '00000000-0000-0000-0000-000000000000¦ffffffff-ffff-ffff-ffff-ffffffffffff', {
    generate: (random) => hexNoise(random, 32),
  }),
  keyed(
    'inet',
    '1.2.3.4¦1.2.3.4/32¦1.2.3.4/24¦10.0.0.0/8¦::1¦::1/128¦::ffff:1.2.3.4¦fe80::1/64¦0.0.0.0/0¦::/0',
    {
      generate: (random) => `${random.below(256)}.${random.below(256)}.1.1/${between(random, 8, 32)}`,
    },
  ),
  keyed('cidr', '1.2.3.4¦10.0.0.0/8¦10.1.0.0/16¦::/0¦::1¦2001:db8::/32¦0.0.0.0/0', {
    generate: (random) => `${random.below(256)}.${random.below(256)}.0.0/16`,
  }),
  keyed('macaddr', '08:00:2b:01:02:03¦00:00:00:00:00:00¦ff:ff:ff:ff:ff:ff'),
  keyed('macaddr8', '08:00:2b:01:02:03:04:05¦ff:ff:ff:ff:ff:ff:ff:ff'),
  keyed('bit', '0¦1'),
  keyed('bit(3)', BITS),
  keyed('bit(70)', ['0'.repeat(70), '1'.repeat(70), '10'.repeat(35)]),
  keyed('bit varying', '¦0¦1¦00¦0101010101010101010'),
  keyed('bit varying(5)', '¦0¦10101'),
]

const DOCUMENT_TYPES = [
  plain('json', [...DOCUMENTS, ...JSON_NUMBERS], document),
  keyed('jsonb', DOCUMENTS, document),
  plain('jsonpath', '$¦$.a[*] ? (@.b > 1)¦strict $."x y"¦$.**{2 to last}'),
  plain(
    'xml',
    '<a/>¦<a>b &amp; c</a>¦text only¦¦<a/><b/>¦<?xml version="1.0" encoding="ISO-8859-1"?><a>é</a>¦<!DOCTYPE a><a/>¦<a><![CDATA[<x>]]></a>¦<?xml version="1.1" standalone="yes"?><a/>¦ <a/> ',
    { large: true },
  ),
  keyed('tsvector', `¦'a':1A,2 'b':3¦'it''s':1 'back\\\\slash':2¦a b c`),
  keyed('tsquery', `¦a & b¦!a | (b <-> 'c d':*AB)¦'it''s'`),
]

const SHAPES = [
  plain('point', '(0,0)¦(-0,NaN)¦(Infinity,-Infinity)¦(0.1,5e-324)'),
  plain('line', '{1,2,3}¦{0,-1,0.1}'),
  plain('lseg', '[(0,0),(1,1)]¦[(0.1,-0),(1e300,1)]'),
  plain('box', '(1,1),(0,0)¦(NaN,1),(0,0)', { delimiter: ';' }),
  plain('path', '[(0,0),(1,1)]¦((0,0),(1,1),(0.1,2))'),
  plain('polygon', '((0,0),(1,1),(2,0))¦((0.1,0.2))'),
  plain('circle', '<(0,0),1>¦<(0.1,-0),0>'),
]

const INTERNALS = [
  keyed('pg_lsn', '0/0¦FFFFFFFF/FFFFFFFF¦1/2A'),
  keyed('oid', '0¦4294967295¦1259'),
  plain('xid', '0¦4294967295¦3'),
  keyed('xid8', '0¦18446744073709551615'),
  plain('cid', '0¦7'),
  keyed('tid', '(0,0)¦(4294967295,65535)¦(0,1)'),
  keyed('regclass', 'pg_class¦0¦-¦pg_catalog.pg_type¦4294967295'),
  keyed('regtype', 'integer¦timestamp with time zone¦0¦"char"'),
  plain('regproc', 'now¦0¦pg_sleep'),
  plain('regprocedure', 'now()¦lower(text)¦0'),
  plain('regoperator', '+(integer,integer)¦0'),
  plain('regrole', 'postgres¦0'),
  keyed('regnamespace', 'pg_catalog¦0'),
  plain('regcollation', '"C"¦0'),
  plain('regconfig', 'simple¦0'),
  plain('aclitem', 'postgres=r/postgres¦=UC/postgres'),
  plain('pg_snapshot', '10:20:10,14,15¦1:1:'),
  plain('txid_snapshot', '10:20:10,14,15'),
  plain('refcursor', '¦x y¦"'),
  plain('int2vector', '¦1 2 3'),
  keyed('oidvector', '¦1 2 3'),
]

const RANGES = [
  keyed('int4range', 'empty¦[1,5)¦(,5)¦(,)¦[1,)¦[3,3]'),
  keyed('numrange', 'empty¦[1.0,5)¦[1.00,5)¦(,NaN]¦[-Infinity,Infinity]'),
  keyed('tstzrange', 'empty¦[2026-01-01,infinity)¦["2026-01-01 00:00:00+02",)¦(-infinity,infinity)'),
  keyed('tsrange', 'empty¦[2026-01-01,infinity)'),
  keyed('daterange', 'empty¦[2026-01-01,infinity)¦(,2026-01-01]'),
  keyed('int8multirange', '{}¦{[1,3),[5,7)}¦{(,)}'),
  keyed('nummultirange', '{}¦{[1.0,3),[5,7)}'),
  plain('tstzmultirange', '{}¦{[2026-01-01,2026-02-01),[2027-01-01,infinity)}'),
]

/** Types that come with PostgreSQL. */
export const BUILT_IN: readonly FuzzType[] = [
  ...NUMBERS,
  ...CHARACTERS,
  ...TIMES,
  ...BITS_AND_ADDRESSES,
  ...DOCUMENT_TYPES,
  ...SHAPES,
  ...INTERNALS,
  ...RANGES,
]
