/**
 * What a whole machine does on any engine, in wall time, as checks that any test runner can run:
 *
 *   for (const { name, run } of guestContract(host)) it(name, run);
 *
 * The guest is test-kernel.ts: it uses timer, interrupts, UART, clocks and ACPI, and turns itself off after 200 ticks.
 * `from` and `to` may be engines of different kinds: what is saved on one is restored on the other.
 */

import type { StateValue } from "../devices/device.ts";
import type { EngineCheck, EngineFactory } from "../engine/contract-guest.ts";
import type { Ram } from "../memory/ram.ts";
import { sha256, toHex } from "../state/sha256.ts";
import { createBoard, SERIAL_CHANNEL } from "./board.ts";
import { Machine, type SliceResult } from "./machine.ts";
import { machineSections, restoreMachine, saveMachine } from "./machine-state.ts";
import { machineSpec } from "./spec.ts";
import { BUSY_GUEST, testKernel } from "./test-kernel.ts";

export interface ContractHost {
  readonly from: EngineFactory;
  /** Default: `from`. */
  readonly to?: EngineFactory;
  /** Of the machine's time-stamp counter; default as in every spec. */
  readonly tscFrequencyHz?: number;
  /** The host's monotonic clock. */
  readonly wallNs: () => number;
}

const MEMORY_BYTES = 16 << 20;
/** One character each 16 ticks until 200; more where the host is so slow that ticks come before they are looked at. */
const CHARACTERS_BEFORE_END = 12;
const LIMIT_NS = 60e9;
const TRIPLE_FAULT = [0x0f, 0x01, 0x1d, 0xf9, 0x0f, 0, 0, 0x0f, 0x0b]; // lidt [a table of zeros]; ud2
const SPINNING = [0xeb, 0xfe];

export function guestContract(host: ContractHost): EngineCheck[] {
  return [
    { name: "a kernel runs to its own power-off", run: () => checkRun(host) },
    { name: "what is typed is echoed", run: () => checkInput(host) },
    { name: "saved at any moment and restored, it runs on to its end", run: () => checkRestore(host) },
    { name: "a restored machine is the saved one, in every part, and has its hash", run: () => checkSameState(host) },
    { name: "time stands still in a pause", run: () => checkPause(host) },
    { name: "a reset boots it again", run: () => checkReset(host) },
    { name: "a triple fault is a crash with a report", run: () => checkCrash(host) },
    { name: "a guest that only spins can be turned off", run: () => checkSpinning(host) },
  ];
}

interface Guest {
  readonly machine: Machine;
  readonly serial: () => string;
  readonly close: () => void;
}

function guestOn(
  create: EngineFactory,
  { wallNs, tscFrequencyHz }: ContractHost,
  code: Uint8Array = BUSY_GUEST,
): Guest {
  const kernel = testKernel(code);
  const spec = machineSpec({
    memoryBytes: MEMORY_BYTES,
    clock: "wall",
    seed: "01",
    boot: { kernel: { sha256: toHex(sha256(kernel)), sizeBytes: kernel.length }, commandLine: "" },
    devices: [{ kind: "virtio-rng", name: "rng0" }],
    ...(tscFrequencyHz !== undefined && { tscFrequencyHz }),
  });
  const { engine, close } = create({ memoryBytes: MEMORY_BYTES });
  let serial = "";
  const machine = new Machine({
    spec,
    memory: engine.memory as Ram,
    engine,
    createBoard: (wiring) => createBoard(wiring, { kernel }),
    output: (channel, bytes) => {
      if (channel === SERIAL_CHANNEL) serial += String.fromCharCode(...bytes);
    },
    wallNs,
  });
  return { machine, serial: () => serial, close: close ?? (() => {}) };
}

/** Runs until `isEnough`; idle times are waited for on the host's clock, in a loop. */
function runUntil(
  { machine }: Guest,
  { wallNs }: ContractHost,
  isEnough: (result: SliceResult) => boolean,
): SliceResult {
  const limit = wallNs() + LIMIT_NS;
  for (;;) {
    const result = machine.runSlice();
    if (isEnough(result)) return result;
    if (result.kind === "stopped")
      throw new Error(`the guest is ${result.state}: ${machine.crash?.reason ?? machine.offReason}`);
    if (wallNs() > limit) throw new Error(`the guest takes too long, at 0x${machine.vcpu.getState().rip.toString(16)}`);
    const due = result.kind === "idle" && result.waitNs !== undefined ? wallNs() + result.waitNs : 0;
    while (wallNs() < due) {}
  }
}

const hasStopped = (result: SliceResult): boolean => result.kind === "stopped";

function require(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

function withGuest(create: EngineFactory, host: ContractHost, use: (guest: Guest) => void, code?: Uint8Array): void {
  const guest = guestOn(create, host, code);
  try {
    use(guest);
  } finally {
    guest.close();
  }
}

/** `typed`: how many characters of it are an echo. On a slow host any number of ticks fall due between E and power-off. */
function requireWhole(line: string, typed = 0): void {
  require(line.includes("E", CHARACTERS_BEFORE_END + typed), `the guest printed ${JSON.stringify(line)}`);
}

function requireOff({ machine }: Guest): void {
  const end = machine.crash?.reason ?? machine.offReason;
  require(machine.state === "off" && /ACPI/.test(end ?? ""), `the machine is ${machine.state}: ${end}`);
}

function checkRun(host: ContractHost): void {
  withGuest(host.from, host, (guest) => {
    guest.machine.start();
    runUntil(guest, host, hasStopped);
    requireOff(guest);
    requireWhole(guest.serial());
    require(guest.machine.clock.nowNs() > 0, "no time has passed for the guest");
  });
}

function checkInput(host: ContractHost): void {
  withGuest(host.from, host, (guest) => {
    guest.machine.start();
    runUntil(guest, host, () => guest.serial().length >= 2);
    guest.machine.input(SERIAL_CHANNEL, Uint8Array.of(0x7e, 0x7e, 0x7e));
    runUntil(guest, host, hasStopped);
    require(guest.serial().split("~").length === 4, `three characters were typed: ${JSON.stringify(guest.serial())}`);
    requireWhole(guest.serial(), 3);
  });
}

/** A state in memory. */
class StateBytes {
  bytes: Uint8Array = new Uint8Array(0);

  get sizeBytes(): number {
    return this.bytes.length;
  }

  setSize(sizeBytes: number): void {
    this.bytes = new Uint8Array(sizeBytes);
  }

  writeAt(offset: number, bytes: Uint8Array): void {
    this.bytes.set(bytes, offset);
  }

  readAt(offset: number, into: Uint8Array): void {
    into.set(this.bytes.subarray(offset, offset + into.length));
  }
}

function checkRestore(host: ContractHost): void {
  for (const characters of [0, 3, 11]) {
    withGuest(host.from, host, (guest) => {
      guest.machine.start();
      runUntil(guest, host, () => guest.serial().length >= characters);
      const state = new StateBytes();
      saveMachine(guest.machine, state);
      const before = guest.serial();
      withGuest(host.to ?? host.from, host, (restored) => {
        restoreMachine(restored.machine, state);
        restored.machine.resume();
        runUntil(restored, host, hasStopped);
        requireOff(restored);
        requireWhole(before + restored.serial());
      });
    });
  }
}

function checkSameState(host: ContractHost): void {
  withGuest(host.from, host, (guest) => {
    guest.machine.start();
    runUntil(guest, host, () => guest.serial().length >= 5);
    guest.machine.pause();
    const state = new StateBytes();
    saveMachine(guest.machine, state);
    const sections = sectionsOf(guest.machine);
    const hash = toHex(guest.machine.stateHash());
    withGuest(host.to ?? host.from, host, (restored) => {
      restoreMachine(restored.machine, state);
      const there = sectionsOf(restored.machine);
      for (const [name, state] of sections) requireSame(there.get(name), state, name);
      require(toHex(restored.machine.stateHash()) === hash, "the restored machine's memory is not as it was");
    });
  });
}

/** Name to content of everything but memory. */
function sectionsOf(machine: Machine): Map<string, StateValue> {
  machine.settle();
  return new Map(machineSections(machine).map(({ name, state }) => [name, state]));
}

/** Names the first part that differs. */
function requireSame(actual: unknown, expected: unknown, path: string): void {
  if (typeof expected === "object" && expected !== null) {
    const parts = (actual ?? {}) as Record<string, unknown>;
    for (const [name, part] of Object.entries(expected)) requireSame(parts[name], part, `${path}.${name}`);
  } else require(actual === expected, `${path} is ${textOf(actual)} and was ${textOf(expected)}`);
}

const textOf = (value: unknown): string =>
  typeof value === "bigint" || typeof value === "number" ? `0x${value.toString(16)}` : String(value);

const PAUSE_NS = 20e6;

function checkPause(host: ContractHost): void {
  withGuest(host.from, host, (guest) => {
    const { machine } = guest;
    machine.start();
    runUntil(guest, host, () => guest.serial().length >= 2);
    machine.pause();
    const beforeNs = machine.clock.nowNs();
    const until = host.wallNs() + PAUSE_NS;
    while (host.wallNs() < until) {}
    require(machine.clock.nowNs() === beforeNs, "the guest's clock ran on in a pause");
    machine.resume();
    require(machine.clock.nowNs() - beforeNs < PAUSE_NS, "the guest's clock jumped over the pause");
    runUntil(guest, host, hasStopped);
    requireWhole(guest.serial());
  });
}

function checkReset(host: ContractHost): void {
  withGuest(host.from, host, (guest) => {
    guest.machine.start();
    runUntil(guest, host, () => guest.serial().length >= 3);
    guest.machine.requestPower("reset");
    guest.machine.runSlice();
    const before = guest.serial().length;
    runUntil(guest, host, hasStopped);
    requireOff(guest);
    requireWhole(guest.serial().slice(before));
  });
}

function checkCrash(host: ContractHost): void {
  const use = (guest: Guest): void => {
    guest.machine.start();
    runUntil(guest, host, hasStopped);
    const { crash } = guest.machine;
    require(crash?.code === "triple-fault", `the machine is ${guest.machine.state}: ${crash?.reason}`);
    require(crash.vcpu.rip > 0n, "the report has no RIP");
  };
  withGuest(host.from, host, use, Uint8Array.from(TRIPLE_FAULT));
}

function checkSpinning(host: ContractHost): void {
  const use = (guest: Guest): void => {
    guest.machine.start();
    for (let slice = 0; slice < 20; slice++) guest.machine.runSlice();
    guest.machine.requestPower("off");
    runUntil(guest, host, hasStopped);
    require(guest.machine.state === "off", `the machine is ${guest.machine.state}`);
  };
  withGuest(host.from, host, use, Uint8Array.from(SPINNING));
}
