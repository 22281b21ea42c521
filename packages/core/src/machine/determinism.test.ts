import { expect, test } from "vitest";
import { toHex } from "../state/sha256.ts";
import { EventRecorder } from "./event-recorder.ts";
import { EventReplay } from "./event-replay.ts";
import { type EventLog, LiveLog } from "./events.ts";
import {
  createFakeBoard,
  createFakeEngine,
  createFakeRam,
  FAKE_PORT,
  FAKE_VECTOR,
  type FakeInstruction,
  type FakeProgram,
} from "./fake-machine.ts";
import { Machine } from "./machine.ts";
import { restoreMachine, saveMachine } from "./machine-state.ts";
import { type ClockMode, machineSpec } from "./spec.ts";

/** Numerical Recipes' generator, high bits. */
function randomStream(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761) >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Interrupts on and off, halts, timers armed at odd moments (also by handlers, also with tiny periods), every kind of input. */
function randomProgram(random: (below: number) => number, sleepsDeeply = false): FakeProgram {
  const any = (): FakeInstruction => {
    const port = [FAKE_PORT.DATA, FAKE_PORT.RANDOM, FAKE_PORT.NOW_NS][random(3)]!;
    const choices: FakeInstruction[] = [
      { op: "mix" },
      { op: "store", mask: 0x3fff },
      { op: "in", port },
      { op: "rdtsc" },
      { op: "sti" },
      { op: "cli" },
      { op: "hlt" },
      { op: "out", port: FAKE_PORT.TIMER, value: [1, 3, 50, 997, 20_000][random(5)]! },
      { op: "out", port: FAKE_PORT.DATA },
    ];
    return choices[random(choices.length)]!;
  };
  // Only an NMI ends a halt with interrupts off: timers run on meanwhile.
  const block = (length: number): FakeInstruction[] =>
    Array.from({ length }, any).flatMap((one): FakeInstruction[] => {
      return one.op === "hlt" ? [{ op: sleepsDeeply && random(3) === 0 ? "cli" : "sti" }, one] : [one];
    });
  const code: FakeInstruction[] = [{ op: "out", port: FAKE_PORT.TIMER, value: 313 }, ...block(30)];
  code.push({ op: "jmp", to: 0 });
  const handlers: Record<number, number> = {};
  for (const vector of [2, FAKE_VECTOR.TIMER, FAKE_VECTOR.DATA, FAKE_VECTOR.BUTTON]) {
    handlers[vector] = code.length;
    const body = block(3).filter(({ op }) => op !== "hlt" && op !== "sti");
    code.push(...body, { op: "iret" });
  }
  return { code, handlers };
}

function build(program: FakeProgram, clock: ClockMode, sliceNs: number, log: EventLog, host = { wallNs: 0 }) {
  const memory = createFakeRam(4);
  const output: number[] = [];
  const machine = new Machine({
    spec: machineSpec({ memoryBytes: 2 ** 24, clock }),
    memory,
    engine: createFakeEngine(memory, program),
    createBoard: createFakeBoard,
    output: (_channel, bytes) => output.push(...bytes),
    wallNs: () => host.wallNs,
    log,
    sliceNs,
  });
  return { machine, output };
}

const hashOf = (machine: Machine): string => toHex(machine.stateHash());
const SEEDS = Array.from({ length: 12 }, (_, i) => i + 1);

test.each(SEEDS)("virtual time, random program %i: slices do not matter", (seed) => {
  const program = randomProgram(randomStream(seed));
  const ends = [1, 13, 977, 50_000].map((sliceNs) => {
    const { machine, output } = build(program, "virtual", sliceNs, new LiveLog());
    machine.start();
    while (machine.vcpu.retired < 3_000) machine.runSlice(3_000);
    return { hash: hashOf(machine), output };
  });
  for (const end of ends) expect(end).toEqual(ends[0]);
});

test.each(SEEDS)(
  "random program %i: a recorded run replays, also in other slices and with a save in between",
  (seed) => {
    for (const clock of ["virtual", "wall"] as const) {
      const program = randomProgram(randomStream(seed), true);
      const random = randomStream(seed + 1000);
      const host = { wallNs: 0 };
      const tape: number[] = [];
      const header = { spec: null, startHash: null, files: {} };
      const recorder = new EventRecorder({ write: (bytes) => tape.push(...bytes) }, header, 0, 700);
      const recorded = build(program, clock, 1 + random(600), recorder, host);
      recorded.machine.start();
      for (let slice = 0; slice < 120; slice++) {
        if (random(6) === 0) recorded.machine.input("data", Uint8Array.of(random(256), random(256)));
        if (random(8) === 0) recorded.machine.requestNmi();
        if (random(60) === 0) recorded.machine.requestPower(random(2) ? "reset" : "button");
        if (random(40) === 0) {
          recorded.machine.pause();
          saveMachine(recorded.machine, { setSize: () => {}, writeAt: () => {} });
          recorded.machine.resume();
        }
        host.wallNs += random(2_000);
        recorded.machine.runSlice();
      }
      recorded.machine.finishLog();
      for (const sliceNs of [1, 97, 50_000]) {
        let at = 0;
        const read = (into: Uint8Array): number => {
          const part = tape.slice(at, (at += into.length));
          into.set(part);
          return part.length;
        };
        const replayed = build(program, clock, sliceNs, new EventReplay({ read }));
        replayed.machine.start();
        let result = replayed.machine.runSlice();
        while (result.kind === "ran") result = replayed.machine.runSlice();
        expect(result).toEqual({ kind: "replay-end" });
        expect(hashOf(replayed.machine)).toBe(hashOf(recorded.machine));
        expect(replayed.output).toEqual(recorded.output);
      }
    }
  },
);

test.each(SEEDS.slice(0, 6))("random program %i: a copy restored at any time goes on as the original", (seed) => {
  const program = randomProgram(randomStream(seed));
  const random = randomStream(seed + 2000);
  const { machine } = build(program, "virtual", 211, new LiveLog());
  machine.start();
  for (let round = 0; round < 6; round++) {
    for (let slice = random(8); slice >= 0; slice--) {
      if (random(3) === 0) machine.input("data", Uint8Array.of(random(256)));
      machine.runSlice();
    }
    const file = { bytes: new Uint8Array(0), sizeBytes: 0 };
    saveMachine(machine, {
      setSize: (sizeBytes) => {
        file.bytes = new Uint8Array(sizeBytes);
        file.sizeBytes = sizeBytes;
      },
      writeAt: (offset, bytes) => file.bytes.set(bytes, offset),
    });
    const copy = build(program, "virtual", 503, new LiveLog()).machine;
    restoreMachine(copy, {
      sizeBytes: file.sizeBytes,
      readAt: (offset, into) => into.set(file.bytes.subarray(offset, offset + into.length)),
    });
    copy.resume();
    const target = machine.vcpu.retired + 500;
    for (const each of [copy, machine]) while (each.vcpu.retired < target) each.runSlice(target);
    expect(hashOf(copy)).toBe(hashOf(machine));
  }
});
