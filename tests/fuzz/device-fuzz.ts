/**
 * Mutated valid sequences against one device front-end. A target's generator writes what a driver would do, as operations
 * (register accesses, memory, events, time); the rig changes, drops, doubles and swaps some of them and watches what a
 * hostile guest must never reach: exceptions, work without bound, writes where no buffer is, states that restore refuses.
 * Now and then the state goes through a copy, and through a damaged copy, which then runs on. Everything follows the seed.
 */
import type { AccessSize } from "../../packages/core/src/bus/io.ts";
import type { RegisterRange } from "../../packages/core/src/devices/contract.ts";
import type { Device, StateValue } from "../../packages/core/src/devices/device.ts";
import { FakeContext } from "../../packages/core/src/devices/fake-context.ts";
import { StateError } from "../../packages/core/src/state/errors.ts";

export type Random = (below: number) => number;

export type Operation =
  | { readonly kind: "read"; readonly range: number; readonly offset: number; readonly size: AccessSize }
  | {
      readonly kind: "write";
      readonly range: number;
      readonly offset: number;
      readonly size: AccessSize;
      readonly value: number;
    }
  | { readonly kind: "memory"; readonly gpa: number; readonly bytes: Uint8Array }
  | { readonly kind: "event"; readonly event: number; readonly value: number }
  | { readonly kind: "time"; readonly ns: number };

export interface FuzzTarget {
  readonly device: Device;
  readonly ranges: readonly RegisterRange[];
  readonly events?: readonly ((value: number) => void)[];
  /** What a driver does next. May look at the context, and changes nothing. */
  sequence(random: Random): Operation[];
  /** A driver's first steps; with them each new device begins. */
  start?(): Operation[];
  /** The device reads guest memory: whoever allows writes by descriptors looks at them here. */
  sees?(gpa: number, bytes: Uint8Array): void;
  /** Whether the guest has given the device this memory to write. Without it: never. */
  mayWrite?(gpa: number, length: number): boolean;
  /** Whether the guest has given these pages back. Without it: never. */
  mayDiscard?(gpa: number, length: number): boolean;
  /** Throws what is wrong. After every operation. */
  check?(): void;
}

export interface FuzzedDevice {
  readonly name: string;
  build(context: FakeContext): FuzzTarget;
}

/** Accesses to memory, pieces of output and of random bytes: of one operation. */
const MAX_WORK = 300_000;
const MAX_OUTPUT_BYTES = 64 * 2 ** 20;
const MAX_STATE_BYTES = 2 ** 20;
const SESSION_STEPS = 1000;
const COPY_EVERY = 100;
const DAMAGED_STEPS = 12;

export class FuzzFailure extends Error {
  override readonly name = "FuzzFailure";
  readonly code = "fuzz-failure";
}

export function seededRandom(seed: number): Random {
  let state = Math.imul(seed + 1, 0x9e37_79b1) | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return Math.floor(((state >>> 0) / 2 ** 32) * below);
  };
}

/** Throws FuzzFailure. */
export function fuzzDevice(fuzzed: FuzzedDevice, { seed, steps }: { seed: number; steps: number }): void {
  const random = seededRandom(seed);
  for (let done = 0; done < steps; ) done += session(fuzzed, random, Math.min(SESSION_STEPS, steps - done), seed, done);
}

function session(fuzzed: FuzzedDevice, random: Random, steps: number, seed: number, before: number): number {
  let rig = new Rig(fuzzed);
  let step = 0;
  const recent: string[] = [];
  try {
    let waiting: Operation[] = rig.target.start?.() ?? [];
    const isTame = random(2) === 0;
    for (; step < steps; step++) {
      if (waiting.length === 0) {
        const valid = rig.target.sequence(random);
        waiting = isTame && random(4) !== 0 ? valid : mutated(valid, rig.target, random);
        if (waiting.length === 0) continue;
      }
      const operation = waiting.shift()!;
      if (recent.push(describeOperation(operation)) > 8) recent.shift();
      rig.run(operation);
      if (step % COPY_EVERY === COPY_EVERY - 1) rig = rig.copied(random);
    }
  } catch (error) {
    const where = `${fuzzed.name}, seed ${seed}, step ${before + step}`;
    throw new FuzzFailure(`${where}: ${String(error)}\nafter ${recent.join("\n      ")}`, { cause: error });
  }
  return steps;
}

class Rig {
  readonly target: FuzzTarget;
  readonly #fuzzed: FuzzedDevice;
  readonly #context: FakeContext;
  #work = 0;
  #isDevicesTurn = false;

  constructor(fuzzed: FuzzedDevice, nowNs = 0) {
    this.#fuzzed = fuzzed;
    this.#context = new FakeContext({ nowNs });
    this.#watch();
    this.target = fuzzed.build(this.#context);
  }

  run(operation: Operation): void {
    this.#work = 0;
    this.#isDevicesTurn = operation.kind !== "memory";
    const { ranges, events = [] } = this.target;
    if (operation.kind === "memory") this.#context.memory.write(operation.gpa, operation.bytes);
    else if (operation.kind === "time") this.#context.clock.jump(operation.ns);
    else if (operation.kind === "event") events[operation.event % Math.max(1, events.length)]?.(operation.value);
    else {
      const range = ranges[operation.range]!;
      const { offset, size } = operation;
      if (offset + size <= range.length) {
        if (operation.kind === "write") range.handler.write(offset, size, operation.value);
        else checkAnswer(range.handler.read(offset, size), operation);
      }
    }
    this.#isDevicesTurn = false;
    this.target.check?.();
    const sent = this.#context.outputs.reduce((sum, [, bytes]) => sum + bytes.length, 0);
    if (sent > MAX_OUTPUT_BYTES) throw new Error(`${sent} bytes of output`);
    this.#context.outputs.length = 0;
    this.#context.powerActions.length = 0;
  }

  /** Its copy through a state; a damaged copy lives for a while beside it. */
  copied(random: Random): Rig {
    const state = this.target.device.save();
    const size = sizeOf(state);
    if (size > MAX_STATE_BYTES) throw new Error(`a state of ${size} bytes`);
    const copy = this.#restored(state, "its own state");
    const { what, value } = damaged(state, random);
    const other = this.#blank();
    try {
      other.target.device.restore(value);
    } catch (error) {
      if (error instanceof StateError) return copy;
      throw new Error(`restoring with ${what}`, { cause: error });
    }
    try {
      other.#resume();
      for (let i = 0; i < DAMAGED_STEPS; i++)
        for (const operation of other.target.sequence(random).slice(0, 40)) other.run(operation);
      other.#restored(other.target.device.save(), "the state");
    } catch (error) {
      throw new Error(`restored with ${what}, then: ${String(error)}`, { cause: error });
    }
    return copy;
  }

  #restored(state: StateValue, whose: string): Rig {
    const copy = this.#blank();
    try {
      copy.target.device.restore(state);
    } catch (error) {
      throw new Error(`${whose} is refused: ${String(error)}`, { cause: error });
    }
    const again = copy.target.device.save();
    if (fingerprint(again) !== fingerprint(state)) throw new Error(`${whose} is another one after a restore`);
    copy.#resume();
    return copy;
  }

  #resume(): void {
    this.#work = 0;
    this.#isDevicesTurn = true;
    this.target.device.resume?.();
    this.#isDevicesTurn = false;
  }

  #blank(): Rig {
    const copy = new Rig(this.#fuzzed, this.#context.clock.nowNs());
    copy.#context.copyFrom(this.#context);
    return copy;
  }

  #watch(): void {
    const { memory } = this.#context;
    const count = (units = 1): void => {
      this.#work += units;
      if (this.#work > MAX_WORK) throw new Error("work without bound");
    };
    const wrote = (gpa: number, length: number): void => {
      count();
      if (!this.#isDevicesTurn || length === 0 || this.target.mayWrite?.(gpa, length)) return;
      if (gpa + length > memory.bytes.length) return;
      throw new Error(`the device writes ${length} bytes at 0x${gpa.toString(16)}, which nobody gave it`);
    };
    const { read, write, read16, read32, write16, write32, write8, discard } = memory;
    memory.discard = (gpa, length) => {
      // Each page is as much work as another access.
      count(1 + Math.ceil(length / 4096));
      if (gpa + length > memory.bytes.length)
        throw new Error(`the device discards at 0x${gpa.toString(16)}, which is no RAM`);
      const isThere = discard.call(memory, gpa, length);
      if (isThere && this.target.mayDiscard?.(gpa, length) !== true)
        throw new Error(`the device discards ${length} bytes at 0x${gpa.toString(16)}, which nobody gave back`);
      return isThere;
    };
    memory.read = (gpa, into) => {
      count();
      const isRead = read.call(memory, gpa, into);
      if (isRead && this.#isDevicesTurn) this.target.sees?.(gpa, into);
      return isRead;
    };
    memory.read16 = (gpa) => {
      count();
      return read16.call(memory, gpa);
    };
    memory.read32 = (gpa) => {
      count();
      return read32.call(memory, gpa);
    };
    memory.write = (gpa, from) => {
      wrote(gpa, from.length);
      return write.call(memory, gpa, from);
    };
    memory.write8 = (gpa, value) => {
      wrote(gpa, 1);
      return write8.call(memory, gpa, value);
    };
    memory.write16 = (gpa, value) => {
      wrote(gpa, 2);
      return write16.call(memory, gpa, value);
    };
    memory.write32 = (gpa, value) => {
      wrote(gpa, 4);
      return write32.call(memory, gpa, value);
    };
    const { output } = this.#context;
    this.#context.output = (channel, bytes) => {
      count();
      output.call(this.#context, channel, bytes);
    };
  }
}

function checkAnswer(value: number, operation: Operation): void {
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 32) return;
  throw new Error(`${describeOperation(operation)} answers ${value}`);
}

const EDGES = [0, 1, 2, 3, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

function mutated(valid: readonly Operation[], target: FuzzTarget, random: Random): Operation[] {
  const result = [...valid];
  for (let changes = 1 + random(3); changes > 0 && result.length > 0; changes--) {
    const at = random(result.length);
    switch (random(8)) {
      case 0:
        result.splice(at, 1);
        break;
      case 1:
        result.splice(at, 0, result[at]!);
        break;
      case 2:
        result.splice(random(result.length), 0, ...result.splice(at, 1));
        break;
      case 3:
        result.push({ kind: "event", event: random(8), value: random(2 ** 32) });
        break;
      default:
        result[at] = changed(result[at]!, target, random);
    }
  }
  return result;
}

function changedNumber(value: number, random: Random): number {
  switch (random(4)) {
    case 0:
      return (value ^ (1 << random(32))) >>> 0;
    case 1:
      return EDGES[random(EDGES.length)]!;
    case 2:
      return (value + random(9) - 4) >>> 0;
    default:
      return random(2 ** 32);
  }
}

function changed(operation: Operation, { ranges }: FuzzTarget, random: Random): Operation {
  switch (operation.kind) {
    case "memory": {
      const bytes = operation.bytes.slice();
      if (random(8) === 0 || bytes.length === 0) return { ...operation, gpa: operation.gpa + 2 * random(32) };
      const at = random(bytes.length);
      bytes[at] = random(2) === 0 ? bytes[at]! ^ (1 << random(8)) : random(256);
      return { ...operation, bytes };
    }
    case "time":
      return { kind: "time", ns: random(2 ** (1 + random(31))) };
    case "event":
      return { ...operation, value: changedNumber(operation.value, random) };
    default: {
      const { length, sizes = [1, 2, 4] } = ranges[operation.range]!;
      const what = random(operation.kind === "write" ? 6 : 2);
      const size = what === 0 ? sizes[random(sizes.length)]! : operation.size;
      const offset =
        what === 1
          ? random(2) === 0
            ? random(length)
            : Math.max(0, operation.offset + random(9) - 4)
          : operation.offset;
      if (operation.kind === "read") return { ...operation, size, offset };
      const value = what >= 2 ? changedNumber(operation.value, random) : operation.value;
      return { ...operation, size, offset, value: value % 2 ** (8 * size) };
    }
  }
}

function describeOperation(operation: Operation): string {
  const hex = (value: number): string => `0x${value.toString(16)}`;
  switch (operation.kind) {
    case "memory":
      return `memory ${hex(operation.gpa)}: ${[...operation.bytes.subarray(0, 32)].map(hex).join(" ")}`;
    case "event":
      return `event ${operation.event} ${hex(operation.value)}`;
    case "time":
      return `time ${operation.ns}`;
    default: {
      const place = `${operation.range}:${hex(operation.offset)} size ${operation.size}`;
      return operation.kind === "read" ? `read ${place}` : `write ${place} value ${hex(operation.value)}`;
    }
  }
}

/** The state with one thing in it changed to what another machine could have. */
function damaged(state: StateValue, random: Random): { what: string; value: StateValue } {
  const path: string[] = [];
  const change = (value: StateValue): StateValue => {
    if (value instanceof Uint8Array) {
      const bytes = value.slice();
      if (bytes.length > 0) bytes[random(bytes.length)] = random(256);
      return random(8) === 0 ? bytes.subarray(0, random(bytes.length + 1)) : bytes;
    }
    if (Array.isArray(value)) {
      if (value.length === 0) return value;
      const at = random(value.length);
      path.push(String(at));
      if (random(8) === 0) return value.toSpliced(at, 1);
      if (random(8) === 0) return value.toSpliced(at, 0, value[at]);
      return value.with(at, change(value[at]));
    }
    if (typeof value === "object" && value !== null) {
      const keys = Object.keys(value);
      if (keys.length === 0) return value;
      const key = keys[random(keys.length)]!;
      path.push(key);
      return { ...value, [key]: change((value as Record<string, StateValue>)[key]!) };
    }
    if (typeof value === "number") {
      const next = value < 2 ** 32 ? changedNumber(value, random) : value + random(2001) - 1000;
      path.push(`= ${next}`);
      return next;
    }
    if (typeof value === "bigint") return value ^ (1n << BigInt(random(64)));
    if (typeof value === "boolean") return !value;
    return value;
  };
  const value = change(state);
  return { what: path.join("."), value };
}

function sizeOf(value: StateValue): number {
  if (value instanceof Uint8Array) return value.length;
  if (typeof value !== "object" || value === null) return 8;
  return Object.values(value).reduce((sum: number, part) => sum + sizeOf(part as StateValue), 8);
}

function fingerprint(value: StateValue): string {
  return JSON.stringify(value, (_key, part: unknown) => {
    if (typeof part === "bigint") return `${part}n`;
    if (!(part instanceof Uint8Array)) return part;
    let sum = part.length;
    for (const byte of part) sum = (Math.imul(sum, 31) + byte) | 0;
    return `${part.length}:${sum}`;
  });
}
