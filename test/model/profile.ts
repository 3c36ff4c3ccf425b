import type { Random } from '../torture/random.ts'

/** What kind of world a schedule runs in; all of it is decided by the seed. */
export interface Profile {
  readonly keyless: boolean
  /** REPLICA IDENTITY FULL although there is a key. */
  readonly full: boolean
  readonly soft: boolean
  /** Transactions may commit asynchronously, so that a crash takes them back. */
  readonly asynchronous: boolean
  /** The server is a minor release that loses a table's changes when it joins in the middle of a transaction. */
  readonly oldMinor: boolean
  /** Rows of an unknown history are in the destination table at the start. */
  readonly stale: boolean
  /** Rows that only the destination has. */
  readonly foreign: number
  readonly seedRows: number
  readonly readFrom: 'Replica' | 'Primary'
  readonly actions: readonly ('DoNothing' | 'Truncate' | 'Drop')[]
  readonly scans: readonly ('Key' | 'Ctid')[]
  readonly backfills: number
  /** How late at the least a process sees what changes at the API server, milliseconds. */
  readonly watchLag: number
  readonly steps: number
  readonly weights: Readonly<Record<string, number>>
}

/** How often an action is tried; `faults` scales those that break something. */
export const WEIGHTS: Readonly<Record<string, number>> = {
  begin: 4,
  write: 9,
  commit: 6,
  abort: 1,
  flush: 10,
  visible: 12,
  replay: 10,
  capture: 24,
  apply: 24,
  backfill: 40,
  operator: 8,
  tick: 16,
  jump: 2,
  truncate: 1,
  restartReplica: 1,
  switchReplica: 1,
  loseSnapshot: 1,
  breakSession: 1,
  killCapture: 1,
  killApply: 1,
  killBackfill: 1,
  splitCapture: 0.5,
  splitApply: 1,
  splitBackfill: 1,
  ghost: 4,
  late: 3,
  cancel: 0.5,
  suspend: 0.3,
  adhoc: 0.6,
  unlist: 0,
  rewrite: 0,
  addColumn: 0,
  retype: 0,
  loseSlot: 0,
  crashPrimary: 0,
  failOver: 0,
  recreateTopic: 0,
  remakeTopic: 0,
  expire: 0,
}

/** Those of which `faults` says how often they happen. */
export const FAULTS: readonly string[] = [
  'abort',
  'truncate',
  'restartReplica',
  'switchReplica',
  'loseSnapshot',
  'breakSession',
  'killCapture',
  'killApply',
  'killBackfill',
  'splitCapture',
  'splitApply',
  'splitBackfill',
  'cancel',
  'suspend',
  'unlist',
  'rewrite',
  'addColumn',
  'retype',
  'loseSlot',
  'crashPrimary',
  'failOver',
  'recreateTopic',
  'remakeTopic',
  'expire',
]

/** One special trouble at a time, sometimes several: what goes wrong together is harder to read and rarer to find. */
const TROUBLES: readonly Readonly<Record<string, number>>[] = [
  {},
  {},
  { rewrite: 2 },
  { addColumn: 1 },
  { retype: 0.7 },
  { loseSlot: 1 },
  { crashPrimary: 1 },
  { failOver: 1 },
  { failOver: 5, unlist: 1 },
  { recreateTopic: 1 },
  { remakeTopic: 1 },
  { expire: 2 },
  { unlist: 1 },
  { killCapture: 3, splitCapture: 3 },
  { killApply: 3, splitApply: 3 },
  { killBackfill: 4, splitBackfill: 4 },
]

const OFTEN = 8

/** Long schedules with quick workers, so that most of what happens happens while tables stream and are copied. */
export const LIVELY: Readonly<Record<string, number>> = { capture: 60, apply: 60, backfill: 90, write: 14 }

/** @param fixed what is not left to chance */
export function randomProfile(random: Random, fixed: Partial<Profile> = {}): Profile {
  const troubles = Array.from({ length: random.chance(0.2) ? 3 : 1 }, () => random.pick(TROUBLES))
  const weights: Record<string, number> = { ...WEIGHTS }
  for (const trouble of troubles) Object.assign(weights, trouble)
  // A choice of its own, so that seeds that were found before mean what they meant.
  const lively = random.fork('lively')
  const isLively = lively.chance(0.35)
  if (isLively) Object.assign(weights, LIVELY)
  Object.assign(weights, fixed.weights)
  const faults = random.pick([0.05, 0.2, 0.6])
  for (const name of FAULTS)
    if (fixed.weights?.[name] === undefined) weights[name] = (weights[name] ?? 0) * faults
  // Some faults come to light only where one follows the other, before anything has recovered from the first.
  if (fixed.weights === undefined && random.fork('often').chance(0.15)) {
    for (const name of troubles.flatMap(Object.keys)) weights[name] = (weights[name] ?? 0) * OFTEN
  }
  const keyless = random.chance(0.12)
  const profile: Profile = {
    keyless,
    full: random.chance(0.1),
    soft: random.chance(0.15),
    asynchronous: (weights.crashPrimary ?? 0) > 0 || random.chance(0.1),
    oldMinor: random.chance(0.3),
    stale: random.chance(0.25),
    foreign: random.pick([0, 1]),
    seedRows: random.pick([0, 2, 4]),
    readFrom: random.pick(['Replica', 'Replica', 'Primary']),
    actions: ['DoNothing', 'Truncate', 'Drop'],
    scans: ['Key', 'Ctid'],
    backfills: random.pick([0, 1, 2]),
    watchLag: lively.pick([0, 0, 0, 20_000]),
    steps: isLively ? lively.pick([240, 500]) : random.pick([60, 120, 240]),
    ...fixed,
    weights,
  }
  return profile.keyless
    ? { ...profile, actions: ['Truncate', 'Drop'], scans: ['Ctid'], stale: false, foreign: 0 }
    : profile
}
