/**
 * The contract that every device model keeps, as checks that any test runner can run:
 *
 *   describe("contract", () => it.each(deviceContract(create))("$name", ({ run }) => run()));
 *
 * `create` builds a device on a fake context and names its register ranges. The checks send seeded random register
 * traffic, input and jumps of time through it, save and restore in the middle, compare the copy's answers, wires and
 * output with the original's, and feed it damaged states. They throw plain errors that carry the seed.
 */
import type { AccessSize, IoHandler } from "../bus/io.ts";
import { StateError } from "../state/errors.ts";
import type { Device, StateValue } from "./device.ts";
import { FakeContext } from "./fake-context.ts";

export interface RegisterRange {
  readonly handler: IoHandler;
  readonly length: number;
  /** Access sizes of the traffic. Default: 1, 2 and 4. */
  readonly sizes?: readonly AccessSize[];
}

export interface DeviceUnderTest {
  readonly device: Device;
  readonly ranges: readonly RegisterRange[];
  /** More things that happen to this device, e.g. a wire that changes; each takes a random 32-bit number. */
  readonly events?: readonly ((random: number) => void)[];
  /** Programs the device so that random traffic finds it at work. Runs once, after creation. */
  readonly setUp?: () => void;
  /** The device has parts that a reset leaves alone, e.g. CMOS RAM. */
  readonly survivesReset?: boolean;
  /** Further answers that must be equal after a restore. */
  readonly observe?: () => unknown;
}

export type DeviceFactory = (context: FakeContext) => DeviceUnderTest;

export interface ContractCheck {
  readonly name: string;
  readonly run: () => void;
}

const STEPS = 300;
const SEEDS = [1, 2, 3, 4, 5, 6];

export function deviceContract(create: DeviceFactory): ContractCheck[] {
  const seeded = (check: (create: DeviceFactory, seed: number) => void) => (): void => {
    for (const seed of SEEDS) check(create, seed);
  };
  return [
    { name: "reset is idempotent", run: seeded(checkReset) },
    { name: "save, restore, save gives the same state", run: seeded(checkRoundTrip) },
    { name: "a restored copy goes on exactly as the original", run: seeded(checkCopy) },
    { name: "saving and pausing change nothing", run: seeded(checkSaveIsPure) },
    { name: "damaged states throw StateError and leave a working device", run: () => checkDamage(create) },
  ];
}

interface Rig extends DeviceUnderTest {
  readonly context: FakeContext;
}

function build(create: DeviceFactory, nowNs = 0): Rig {
  const context = new FakeContext({ nowNs });
  return { context, ...create(context) };
}

function checkReset(create: DeviceFactory, seed: number): void {
  const rig = build(create);
  rig.setUp?.();
  drive(rig, seed);
  rig.device.reset();
  const once = rig.device.save();
  rig.device.reset();
  requireSame(once, rig.device.save(), `seed ${seed}: second reset`);
}

function checkRoundTrip(create: DeviceFactory, seed: number): void {
  const rig = build(create);
  rig.setUp?.();
  drive(rig, seed);
  const state = rig.device.save();
  const copy = copyOf(create, rig, state);
  requireSame(state, copy.device.save(), `seed ${seed}: state`);
  copy.device.restore(state);
  requireSame(state, copy.device.save(), `seed ${seed}: state restored twice`);
}

function checkCopy(create: DeviceFactory, seed: number): void {
  const rig = build(create);
  rig.setUp?.();
  drive(rig, seed);
  const copy = copyOf(create, rig, rig.device.save());
  requireSame(levels(rig), levels(copy), `seed ${seed}: wires after restore`);
  requireSame(drive(rig, seed + 100), drive(copy, seed + 100), `seed ${seed}: behaviour`);
  requireSame(rig.device.save(), copy.device.save(), `seed ${seed}: state after further traffic`);
}

function checkSaveIsPure(create: DeviceFactory, seed: number): void {
  const plain = build(create);
  const disturbed = build(create);
  plain.setUp?.();
  disturbed.setUp?.();
  for (let part = 0; part < 20; part++) {
    const expected = drive(plain, seed + part, 20);
    requireSame(expected, drive(disturbed, seed + part, 20), `seed ${seed}: part ${part}`);
    disturbed.device.pause?.();
    disturbed.device.save();
    disturbed.device.resume?.();
  }
}

function checkDamage(create: DeviceFactory): void {
  const origin = build(create);
  origin.setUp?.();
  drive(origin, 7);
  const state = origin.device.save();
  const nowNs = origin.context.clock.nowNs();
  for (const { what, damaged } of damages(state)) {
    const rig = build(create, nowNs);
    rig.device.reset();
    const clean = rig.device.save();
    rig.setUp?.();
    try {
      rig.device.restore(damaged);
    } catch (error) {
      if (!(error instanceof StateError)) throw new Error(`${what}: not a StateError`, { cause: error });
      if (!rig.survivesReset) requireSame(clean, rig.device.save(), `${what}: not reset after the error`);
    }
    drive(rig, 8, 60);
    const again = build(create, rig.context.clock.nowNs());
    again.device.restore(rig.device.save());
  }
}

function copyOf(create: DeviceFactory, rig: Rig, state: StateValue): Rig {
  const copy = build(create, rig.context.clock.nowNs());
  copy.context.copyFrom(rig.context);
  copy.device.restore(state);
  copy.device.resume?.();
  return copy;
}

/** Random traffic. Returns everything that could be seen from outside while it ran. */
function drive(rig: Rig, seed: number, steps = STEPS): StateValue[] {
  const random = randomStream(seed);
  const trace: StateValue[] = [];
  const { context, ranges } = rig;
  context.outputs.length = 0;
  context.powerActions.length = 0;
  for (let step = 0; step < steps; step++) {
    const kind = random() % 16;
    if (kind === 0) context.clock.jump(random() % 5_000_000);
    else if (kind === 1) context.clock.jump(random() % 2000);
    else if (kind === 2 && random() % 8 === 0) context.clock.jump(random() % 4_000_000_000);
    else if (kind === 3 && context.channels.length > 0) {
      const channel = context.channels[random() % context.channels.length]!;
      context.input(
        channel,
        Uint8Array.from({ length: random() % 40 }, () => random()),
      );
    } else if (kind <= 5 && rig.events?.length) rig.events[random() % rig.events.length]!(random());
    else if (ranges.length > 0) {
      const range = ranges[random() % ranges.length]!;
      const sizes = range.sizes ?? [1, 2, 4];
      const size = sizes[random() % sizes.length]!;
      const offset = random() % Math.max(1, range.length - size + 1);
      if (kind < 11) trace.push(range.handler.read(offset, size));
      else range.handler.write(offset, size, random() >>> (32 - 8 * size));
    }
    trace.push(levels(rig));
    const seen = rig.observe?.();
    if (seen !== undefined) trace.push(String(seen));
  }
  for (const [channel, bytes] of context.outputs) trace.push(channel, bytes);
  trace.push(...context.powerActions);
  return trace;
}

function levels({ context }: Rig): string {
  return [...context.lines].map(([name, line]) => `${name}=${line.level ? 1 : 0}`).join();
}

/** Numerical Recipes' 32-bit generator with its low bits mixed away. */
function randomStream(seed: number): () => number {
  let state = (seed * 2_654_435_761) >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state ^ (state >>> 15) ^ (state << 9)) >>> 0;
  };
}

const BAD_VALUES: readonly StateValue[] = [
  null,
  true,
  "x",
  -1,
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  0,
  255,
  0xffff_ffff,
  Number.MAX_SAFE_INTEGER,
  2 ** 60,
  -1n,
  0xffff_ffff_ffff_ffffn,
  1n << 70n,
  [],
  {},
  new Uint8Array(0),
  new Uint8Array(3000).fill(255),
];

/** Every field removed, and every value replaced by each bad one; also a foreign field and a foreign whole. */
function* damages(state: StateValue): Generator<{ what: string; damaged: StateValue }> {
  for (const bad of BAD_VALUES) yield { what: `whole = ${String(bad)}`, damaged: bad };
  if (isPlainObject(state)) yield { what: "extra field", damaged: { ...state, extraField: 1 } };
  yield* damagesBelow(state, "", (value) => value);
}

function* damagesBelow(
  state: StateValue,
  path: string,
  rebuild: (value: StateValue) => StateValue,
): Generator<{ what: string; damaged: StateValue }> {
  const isList = Array.isArray(state);
  if (!isList && !isPlainObject(state)) return;
  const record = state as { readonly [key: string]: StateValue };
  // The first and last elements of a list stand for the rest.
  const keys = Object.keys(record).filter((_key, i, all) => !isList || i < 2 || i === all.length - 1);
  for (const key of keys) {
    const replaced = (value: StateValue): StateValue =>
      rebuild(
        isList ? state.map((old: StateValue, i) => (String(i) === key ? value : old)) : { ...record, [key]: value },
      );
    const without = isList
      ? state.filter((_old, i) => String(i) !== key)
      : Object.fromEntries(Object.entries(record).filter(([name]) => name !== key));
    yield { what: `${path}.${key} removed`, damaged: rebuild(without) };
    for (const bad of BAD_VALUES) yield { what: `${path}.${key} = ${String(bad)}`, damaged: replaced(bad) };
    yield* damagesBelow(record[key]!, `${path}.${key}`, replaced);
  }
}

function requireSame(expected: StateValue, actual: StateValue, what: string): void {
  const found = difference(expected, actual, what);
  if (found !== undefined) throw new Error(found);
}

/** Where two values differ first, or undefined. */
function difference(a: StateValue, b: StateValue, path: string): string | undefined {
  if (Array.isArray(a) && Array.isArray(b)) {
    if (a.length !== b.length) return `${path}: ${a.length} elements, then ${b.length}`;
    for (const [i, value] of a.entries()) {
      const found = difference(value, b[i]!, `${path}[${i}]`);
      if (found) return found;
    }
    return undefined;
  }
  if (a instanceof Uint8Array && b instanceof Uint8Array) {
    const at = a.length === b.length ? a.findIndex((byte, i) => byte !== b[i]) : Math.min(a.length, b.length);
    return at < 0 ? undefined : `${path}: bytes differ at ${at}: ${a[at]}, then ${b[at]}`;
  }
  if (isPlainObject(a) && isPlainObject(b)) {
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
      if (!(key in a) || !(key in b)) return `${path}.${key}: only in one of both`;
      const found = difference(a[key]!, b[key]!, `${path}.${key}`);
      if (found) return found;
    }
    return undefined;
  }
  return Object.is(a, b) ? undefined : `${path}: ${String(a)}, then ${String(b)}`;
}

function isPlainObject(value: StateValue): value is { readonly [key: string]: StateValue } {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}
