import { describe, expect, test } from "vitest";
import { toHex } from "../state/sha256.ts";
import { EventRecorder } from "./event-recorder.ts";
import { EventReplay } from "./event-replay.ts";
import { type EventLog, ReplayError } from "./events.ts";
import {
  createFakeBoard,
  createFakeEngine,
  createFakeRam,
  FAKE_PORT,
  FAKE_VECTOR,
  type FakeInstruction,
  type FakeProgram,
} from "./fake-machine.ts";
import { Machine, type MachineOptions, type SliceResult } from "./machine.ts";
import { type ClockMode, machineSpec } from "./spec.ts";

const PERIOD_NS = 777;

/** Main loop of everything observable; timer and input interrupts with handlers; HLT now and then. */
const BUSY: FakeProgram = (() => {
  const body: FakeInstruction[] = [];
  for (let i = 0; i < 40; i++) {
    body.push({ op: "mix" }, { op: "store", mask: 0x3fff });
    if (i % 7 === 0) body.push({ op: "in", port: FAKE_PORT.NOW_NS }, { op: "rdtsc" });
    if (i % 11 === 0) body.push({ op: "in", port: FAKE_PORT.RANDOM });
    if (i % 13 === 0) body.push({ op: "cli" }, { op: "mix" }, { op: "sti" });
  }
  const start: FakeInstruction[] = [{ op: "out", port: FAKE_PORT.TIMER, value: PERIOD_NS }, { op: "sti" }];
  const code: FakeInstruction[] = [...start, ...body, { op: "hlt" }, { op: "jmp", to: start.length }];
  const timer = code.length;
  code.push({ op: "mix" }, { op: "store", mask: 0x3fff }, { op: "iret" });
  const data = code.length;
  code.push({ op: "in", port: FAKE_PORT.DATA }, { op: "out", port: FAKE_PORT.DATA }, { op: "iret" });
  const button = code.length;
  code.push({ op: "out", port: FAKE_PORT.POWER, value: 0 }, { op: "iret" });
  return {
    code,
    handlers: { 2: timer, [FAKE_VECTOR.TIMER]: timer, [FAKE_VECTOR.DATA]: data, [FAKE_VECTOR.BUTTON]: button },
  };
})();

interface Rig {
  readonly machine: Machine;
  readonly output: number[];
  readonly host: { wallNs: number };
}

function rig(
  options: Partial<MachineOptions> & { clock?: ClockMode; program?: FakeProgram; seed?: string; log?: EventLog } = {},
): Rig {
  const memory = createFakeRam(8);
  const output: number[] = [];
  const host = { wallNs: 1e9 };
  const machine = new Machine({
    spec: machineSpec({ memoryBytes: 2 ** 24, clock: options.clock ?? "virtual", seed: options.seed ?? "01" }),
    memory,
    engine: createFakeEngine(memory, options.program ?? BUSY),
    createBoard: createFakeBoard,
    output: (_channel, bytes) => output.push(...bytes),
    wallNs: () => host.wallNs,
    ...options,
  });
  return { machine, output, host };
}

/** Runs to exactly `retired` instructions. */
function runTo({ machine }: Rig, retired: number): SliceResult {
  let result: SliceResult = { kind: "ran" };
  while (machine.vcpu.retired < retired && result.kind === "ran") result = machine.runSlice(retired);
  return result;
}

const hashOf = (machine: Machine): string => toHex(machine.stateHash());

class Tape {
  bytes: number[] = [];
  write(bytes: Uint8Array): void {
    this.bytes.push(...bytes);
  }
}

function replayOf(tape: Tape): EventReplay {
  let at = 0;
  return new EventReplay({
    read(into) {
      const part = tape.bytes.slice(at, at + into.length);
      into.set(part);
      at += part.length;
      return part.length;
    },
  });
}

const HEADER = { spec: null, startHash: null, files: {} };

describe("lifecycle", () => {
  test("states and what is possible in them", () => {
    const { machine } = rig();
    expect(machine.state).toBe("created");
    expect(() => machine.runSlice()).toThrow(/created and cannot run/);
    machine.start();
    machine.pause();
    expect(() => machine.runSlice()).toThrow(/paused/);
    expect(() => machine.start()).toThrow(/would have to be created/);
    machine.resume();
    expect(machine.runSlice().kind).toBe("ran");
  });

  test("the guest powers off", () => {
    const program: FakeProgram = {
      code: [
        { op: "out", port: FAKE_PORT.POWER, value: 0 },
        { op: "add", n: 1 },
      ],
      handlers: {},
    };
    const it = rig({ program });
    it.machine.start();
    expect(it.machine.runSlice()).toEqual({ kind: "stopped", state: "off" });
    expect(it.machine.vcpu.retired).toBe(1);
    expect(it.machine.offReason).toBe("by the guest");
    expect(it.machine.runSlice()).toEqual({ kind: "stopped", state: "off" });
  });

  test("a triple fault and a reported crash leave a report", () => {
    const fault = rig({ program: { code: [{ op: "mix" }, { op: "fault" }], handlers: {} } });
    fault.machine.start();
    expect(fault.machine.runSlice()).toEqual({ kind: "stopped", state: "crashed" });
    expect(fault.machine.crash).toMatchObject({ code: "triple-fault", retired: 1, vcpu: { rip: 2n } });
    const panic = rig({ program: { code: [{ op: "out", port: FAKE_PORT.POWER, value: 2 }], handlers: {} } });
    panic.machine.start();
    panic.machine.runSlice();
    expect(panic.machine.crash).toMatchObject({ code: "device", reason: "by the guest" });
  });

  test("a reset keeps RAM and the instruction count, and boots again", () => {
    const program: FakeProgram = {
      code: [
        { op: "add", n: 1 },
        { op: "store", mask: 0 },
        { op: "out", port: FAKE_PORT.POWER, value: 1 },
        { op: "nop" },
      ],
      handlers: {},
    };
    const it = rig({ program, sliceNs: 10 });
    it.machine.start();
    runTo(it, 9);
    expect(it.machine.memory.read8(0)).toBeGreaterThan(1);
    expect(it.machine.vcpu.getState().gpr[3]).toBeLessThanOrEqual(1n);
    expect(it.machine.vcpu.retired).toBeGreaterThanOrEqual(9);
  });

  test("a guest's reset turns the machine off where that is asked for, and the host's does not", () => {
    const code: FakeInstruction[] = [
      { op: "add", n: 1 },
      { op: "mix" },
      { op: "out", port: FAKE_PORT.POWER, value: 1 },
    ];
    const it = rig({ program: { code, handlers: {} }, onReboot: "stop" });
    it.machine.start();
    expect(runTo(it, 1)).toEqual({ kind: "ran" });
    it.machine.requestPower("reset");
    expect(runTo(it, 3)).toEqual({ kind: "ran" });
    expect(it.machine.runSlice()).toEqual({ kind: "stopped", state: "off" });
    expect(it.machine.vcpu.retired).toBe(4);
    expect(it.machine.offReason).toBe("by the guest");
  });

  test("the power button reaches the guest", () => {
    const it = rig();
    it.machine.start();
    it.machine.runSlice();
    it.machine.requestPower("button");
    let result = it.machine.runSlice();
    while (result.kind === "ran") result = it.machine.runSlice();
    expect(result).toEqual({ kind: "stopped", state: "off" });
  });

  test("an unknown input channel is refused with the known ones", () => {
    const { machine } = rig();
    expect(() => machine.input("keyboard", new Uint8Array(1))).toThrow(/"keyboard". It has: data/);
  });
});

describe("virtual time", () => {
  test("the size of slices does not matter", () => {
    const hashes = [1, 7, 100, 1_000, 50_000].map((sliceNs) => {
      const it = rig({ sliceNs });
      it.machine.start();
      runTo(it, 20_000);
      expect(it.machine.vcpu.retired).toBe(20_000);
      return hashOf(it.machine);
    });
    expect(new Set(hashes).size).toBe(1);
  });

  test("another seed gives another state", () => {
    const hashes = ["01", "02"].map((seed) => {
      const it = rig({ seed, sliceNs: 10 });
      it.machine.start();
      runTo(it, 5_000);
      return hashOf(it.machine);
    });
    expect(hashes[0]).not.toBe(hashes[1]);
  });

  test("HLT goes to the next deadline at once; without one it waits for input", () => {
    const program: FakeProgram = {
      code: [{ op: "sti" }, { op: "hlt" }, { op: "jmp", to: 1 }, { op: "in", port: FAKE_PORT.DATA }, { op: "iret" }],
      handlers: { [FAKE_VECTOR.DATA]: 3 },
    };
    const it = rig({ program });
    it.machine.start();
    expect(it.machine.runSlice()).toEqual({ kind: "blocked" });
    expect(it.machine.runSlice()).toEqual({ kind: "blocked" });
    it.machine.input("data", Uint8Array.of(9));
    it.machine.runSlice();
    expect(it.machine.vcpu.getState().gpr[0]).toBe(9n);
    const timed = rig();
    timed.machine.start();
    runTo(timed, 1_000);
    expect(timed.machine.clock.nowNs()).toBeGreaterThan(timed.machine.vcpu.retired);
  });
});

describe("wall time", () => {
  test("HLT says how long the host may sleep, and the guest wakes on time", () => {
    const program: FakeProgram = {
      code: [
        { op: "out", port: FAKE_PORT.TIMER, value: 1_000_000 },
        { op: "sti" },
        { op: "hlt" },
        { op: "in", port: FAKE_PORT.NOW_NS },
        { op: "out", port: FAKE_PORT.POWER, value: 0 },
        { op: "iret" },
      ],
      handlers: { [FAKE_VECTOR.TIMER]: 5 },
    };
    const it = rig({ program, clock: "wall" });
    it.machine.start();
    const idle = it.machine.runSlice();
    if (idle.kind !== "idle") throw new Error(idle.kind);
    expect(idle.waitNs).toBeGreaterThan(990_000);
    expect(it.machine.runSlice().kind).toBe("idle");
    it.host.wallNs += 1_000_100;
    expect(it.machine.runSlice()).toEqual({ kind: "stopped", state: "off" });
    expect(it.machine.vcpu.getState().gpr[0]).toBeGreaterThanOrEqual(1_000_000n);
  });

  test("a pause does not count", () => {
    const it = rig({ clock: "wall" });
    it.machine.start();
    it.machine.runSlice();
    it.machine.pause();
    const before = it.machine.clock.nowNs();
    it.host.wallNs += 5e9;
    it.machine.resume();
    it.machine.runSlice();
    expect(it.machine.clock.nowNs() - before).toBeLessThan(200_000);
  });

  test("the host's clock is needed", () => {
    expect(() => rig({ clock: "wall", wallNs: undefined })).toThrow(/wallNs/);
  });
});

describe("record and replay", () => {
  /** A host with an uneven clock and somebody typing. */
  function record(clock: ClockMode, slices: number, button: boolean) {
    const tape = new Tape();
    const recorder = new EventRecorder(tape, HEADER, 0, 3_000);
    const it = rig({ clock, log: recorder, sliceNs: clock === "wall" ? 700 : 331 });
    it.machine.start();
    for (let slice = 0, result: SliceResult = { kind: "ran" }; slice < slices && result.kind !== "stopped"; slice++) {
      if (slice % 17 === 3) it.machine.input("data", Uint8Array.of(slice, slice >> 3));
      if (slice === 40) it.machine.requestNmi();
      if (slice === 60) it.machine.advanceCalendar(1000);
      if (slice === 90) it.machine.requestPower("reset");
      if (button && slice === slices - 5) it.machine.requestPower("button");
      it.host.wallNs += 200 + ((slice * 7919) % 5_000);
      result = it.machine.runSlice();
      if (result.kind === "idle")
        it.host.wallNs += result.waitNs === undefined ? 1000 : result.waitNs / (1 + (slice % 3));
      if (slice % 50 === 49) recorder.flush();
    }
    it.machine.finishLog();
    return { tape, ...it };
  }

  function replay(tape: Tape, clock: ClockMode, sliceNs: number) {
    const it = rig({ clock, log: replayOf(tape), sliceNs, wallNs: undefined });
    it.machine.start();
    let result = it.machine.runSlice();
    while (result.kind === "ran") result = it.machine.runSlice();
    return { result, ...it };
  }

  for (const clock of ["virtual", "wall"] as const) {
    test(`a ${clock} run replays to the same state, in slices of any size`, () => {
      const recorded = record(clock, 300, false);
      expect(recorded.output.length).toBeGreaterThan(10);
      for (const sliceNs of [1, 50, 331, 50_000]) {
        const { result, machine, output } = replay(recorded.tape, clock, sliceNs);
        expect(result).toEqual({ kind: "replay-end" });
        expect(machine.vcpu.retired).toBe(recorded.machine.vcpu.retired);
        expect(hashOf(machine)).toBe(hashOf(recorded.machine));
        expect(output).toEqual(recorded.output);
      }
    });

    test(`a ${clock} run that ends by itself replays to its end`, () => {
      const recorded = record(clock, 200, true);
      expect(recorded.machine.state).toBe("off");
      const { result } = replay(recorded.tape, clock, 977);
      expect(result).toEqual({ kind: "stopped", state: "off" });
    });
  }

  test("a run whose last slice was cut short behind the guest's power-off replays to its end", () => {
    const program: FakeProgram = {
      code: [
        { op: "add", n: 1 },
        { op: "out", port: FAKE_PORT.POWER, value: 0 },
        { op: "add", n: 1 },
      ],
      handlers: {},
    };
    const tape = new Tape();
    const it = rig({ clock: "wall", program, log: new EventRecorder(tape, HEADER, 0) });
    it.machine.start();
    expect(it.machine.runSlice(undefined, () => true).kind).toBe("ran");
    it.host.wallNs += 1e9;
    expect(it.machine.runSlice()).toEqual({ kind: "stopped", state: "off" });
    it.machine.finishLog();
    const again = rig({ clock: "wall", program, log: replayOf(tape) });
    again.machine.start();
    expect(again.machine.runSlice()).toEqual({ kind: "stopped", state: "off" });
  });

  test("recording changes nothing", () => {
    const plain = rig({ sliceNs: 100 });
    const recorded = rig({ sliceNs: 100, log: new EventRecorder(new Tape(), HEADER, 0, 500) });
    for (const it of [plain, recorded]) {
      it.machine.start();
      runTo(it, 10_000);
    }
    expect(hashOf(plain.machine)).toBe(hashOf(recorded.machine));
  });

  test("live input is refused in a replay", () => {
    const { tape } = record("virtual", 50, false);
    const it = rig({ log: replayOf(tape) });
    it.machine.start();
    expect(() => it.machine.input("data", Uint8Array.of(1))).toThrow(ReplayError);
    expect(() => it.machine.requestPower("off")).toThrow(/live power/);
  });

  test("another seed diverges, with the count at which it was noticed", () => {
    const { tape } = record("virtual", 300, false);
    const it = rig({ log: replayOf(tape), seed: "ff" });
    it.machine.start();
    let error: unknown;
    try {
      while (it.machine.runSlice().kind === "ran");
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ code: "diverged" });
    expect((error as ReplayError).retired).toBeGreaterThanOrEqual(3_000);
    expect((error as ReplayError).message).toMatch(/diverged at instruction \d+/);
    expect(it.machine.state).toBe("crashed");
    expect(it.machine.crash?.code).toBe("replay");
  });

  test("another program diverges, whatever it does instead", () => {
    const { tape } = record("wall", 300, false);
    const programs: FakeProgram[] = [
      { code: [{ op: "cli" }, { op: "hlt" }], handlers: {} },
      { code: [{ op: "mix" }], handlers: {} },
      { code: [{ op: "mix" }, { op: "out", port: FAKE_PORT.POWER, value: 0 }], handlers: {} },
    ];
    for (const program of programs) {
      const it = rig({ clock: "wall", log: replayOf(tape), program });
      it.machine.start();
      expect(() => {
        while (it.machine.runSlice().kind === "ran");
      }).toThrow(/diverged/);
    }
  });

  test("a cut recording ends with a clear error", () => {
    const { tape } = record("virtual", 300, false);
    tape.bytes = tape.bytes.slice(0, tape.bytes.length - 60);
    expect(() => replay(tape, "virtual", 331)).toThrow(/cut off/);
  });
});
