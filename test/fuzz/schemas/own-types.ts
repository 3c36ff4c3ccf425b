import type { Random } from '../../torture/random.ts'
import { between, noise } from '../random.ts'
import { literal } from '../sql.ts'
import { type FuzzType, keyed, plain } from './type.ts'
import { anyText, BITS, DOCUMENTS, LABELS, ROUNDED_ZONED_TIMESTAMPS, TEXTS } from './values.ts'

export const EXTENSIONS_DDL = `create extension hstore; create extension citext; create extension ltree;
  create extension isn; create extension cube; create extension seg; create extension lo;`

/** Makes the types below, all but those of extensions. */
const DEFINITIONS_DDL = `
  create type public.mood as enum (${LABELS.map(literal).join(', ')});
  create type public."We.ird (Ty)[]" as enum ('a', 'B');
  create type public.comp as (a int, b text, "C d" timestamptz, d numeric[]);
  create type public.comp2 as (x public.comp, y public.mood, z float8);
  create type public.frange as range (subtype = float8);
  create type public.trange as range (subtype = text, collation = "C");
  create domain public.d_int as int default 7 check (value > -100000);
  create domain public.d_nest as public.d_int default 9 check (value <> 13);
  create domain public.d_text as text collate "C" check (length(value) < 100000);
  create domain public.d_vc as varchar(5);
  create domain public.d_vc2 as public.d_vc;
  create domain public.d_bit as bit(3);
  create domain public.d_char as char(4);
  create domain public.d_num as numeric(6,2);
  create domain public.d_arr as int[];
  create domain public.d_arrdom as public.d_text[];
  create domain public.d_mood as public.mood default 'NULL';
  create domain public.d_comp as public.comp;
  create domain public.d_ts as timestamptz(3);
  create domain public.d_range as int4range;
  create domain public.d_json as jsonb;
  create domain public.d_cit as public.citext;
  create collation public.nd (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
  create collation public.ndac (provider = icu, locale = 'und-u-ks-level1', deterministic = false);`

/** Makes all that the columns of a table may be of. */
export const TYPES_DDL = EXTENSIONS_DDL + DEFINITIONS_DDL

const whole = (lo: number, hi: number) => ({
  generate: (random: Random) => String(between(random, lo, hi)),
})

const DEFINED = [
  keyed('public.mood', LABELS),
  keyed('public."We.ird (Ty)[]"', 'a¦B'),
  keyed(
    'public.comp',
    '(1,a,2026-01-01 00:00:00+02,"{1.0,NaN}")¦(,,,)¦(-1,"x ""y"" \\\\,)",infinity,{})¦(2,"",,{NULL})',
  ),
  keyed('public.comp2', '("(1,a,,)",sad,-0)¦(,,)¦("(,""a b"",,)","hap py",NaN)'),
  keyed('public.frange', 'empty¦[-0,0.1)¦[1e-300,Infinity]'),
  keyed('public.trange', 'empty¦["a b","c,d")¦["",)'),
]

const DOMAINS = [
  keyed('public.d_int', '0¦1¦-7¦12', whole(-999, 999)),
  keyed('public.d_nest', '0¦1¦-7¦12', whole(-999, -20)),
  keyed('public.d_text', TEXTS, { generate: anyText, large: true }),
  keyed('public.d_vc2', '¦abcde¦😀'),
  keyed('public.d_bit', BITS),
  keyed('public.d_char', '¦a¦ab  '),
  keyed('public.d_num', '0¦1.5¦9999.99¦NaN'),
  keyed('public.d_arr', '{}¦{1,NULL,3}¦[0:1]={1,2}¦{{1,2},{3,4}}'),
  plain('public.d_arrdom', '{}¦{a,NULL,"NULL",""}¦[2:3]={"a b","\\\\"}'),
  keyed('public.d_mood', LABELS),
  plain('public.d_comp', '(1,a,,)¦(,,,)'),
  keyed('public.d_ts', ROUNDED_ZONED_TIMESTAMPS),
  keyed('public.d_range', 'empty¦[1,5)'),
  plain('public.d_json', DOCUMENTS, { large: true }),
  keyed('public.d_cit', 'a¦A¦b¦é¦É¦'),
]

const OF_EXTENSIONS = [
  keyed('public.hstore', '¦a=>1¦"a b"=>NULL, "c"=>"\\"q\\""¦b=>2,a=>1'),
  keyed('public.citext', 'a¦A¦b¦B¦é¦É¦¦ß', { generate: (random) => noise(random, between(random, 1, 3)) }),
  keyed('public.ltree', '¦a¦a.b¦A.b_c'),
  plain('public.lquery', '*.a¦a.*{1,2}.b|c'),
  keyed('public.isbn13', '978-0-393-04002-9¦9780393040029'),
  keyed('public.ean13', '978-0-393-04002-9¦220-500-896-36-6'),
  keyed('public.cube', '(1,2),(3,4)¦0.1¦(NaN)'),
  keyed('public.seg', '1.50 .. 2.0¦< 3¦1(+-)0.5'),
  plain('public.lo', '0¦17'),
]

/** Texts that their collation takes for equal, though they are not. */
const COLLATED = [
  keyed('text', 'a¦A¦b¦B¦é¦E¦e¦c¦C¦ ¦¦aa¦AA¦aA', {
    collation: 'public.nd',
    generate: (random) => random.pick(['x', 'X']) + random.pick(['y', 'Y']) + random.below(31),
  }),
  keyed('text', 'a¦á¦A¦e\u0301¦é¦b', {
    collation: 'public.ndac',
    generate: (random) => random.pick(['é', 'e\u0301']) + random.below(31),
  }),
  keyed('text', TEXTS, {
    collation: '"C"',
    generate: (random) => noise(random, between(random, 1, 8)),
  }),
]

/** Types that somebody has made. */
export const OWN: readonly FuzzType[] = [...DEFINED, ...DOMAINS, ...OF_EXTENSIONS, ...COLLATED]
