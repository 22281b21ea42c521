/** Guests on several vCPUs that take turns: start-up, interrupts between them, shared memory, states, recordings. */
import { describe, expect, it } from "vitest";
import { JitEngine, type Tier } from "../engine/jit-engine.ts";
import { toHex } from "../state/sha256.ts";
import { createBoard } from "./board.ts";
import { EventRecorder } from "./event-recorder.ts";
import { EventReplay } from "./event-replay.ts";
import { Machine } from "./machine.ts";
import { restoreMachine, saveMachine } from "./machine-state.ts";
import { recordingHeader } from "./recording.ts";
import {
  COUNTER,
  CRASHING,
  counting,
  MEMORY_BYTES,
  PATCHED,
  ROUNDS,
  STOPPED,
  vcpusKernel,
  WAKING,
} from "./several-vcpus-guest.ts";
import { machineSpec } from "./spec.ts";

interface Options {
  readonly cpus: number;
  readonly tier?: Tier;
  readonly sliceNs?: number;
  readonly clock?: "wall" | "virtual";
}

function guest(code: Uint8Array, { cpus, tier = "interp", sliceNs, clock = "virtual" }: Options) {
  const kernel = vcpusKernel(code);
  const spec = machineSpec({
    memoryBytes: MEMORY_BYTES,
    cpus,
    clock,
    seed: "01",
    boot: { kernel: { sha256: "00".repeat(32), sizeBytes: kernel.length }, commandLine: "" },
  });
  const engine = new JitEngine({
    memoryBytes: MEMORY_BYTES,
    tscFrequencyHz: spec.tscFrequencyHz,
    cpus,
    tier,
    sharedMemory: false,
  });
  let now = 0;
  return new Machine({
    spec,
    memory: engine.memory,
    engine,
    createBoard: (wiring) => createBoard(wiring, { kernel }),
    output: () => {},
    // It goes on by itself.
    wallNs: () => {
      now += 61_003;
      return now;
    },
    ...(sliceNs !== undefined && { sliceNs }),
  });
}

function runToEnd(machine: Machine, slices = 20_000): Machine {
  for (let i = 0; i < slices; i++) {
    const { kind } = machine.runSlice();
    if (kind === "stopped" || kind === "replay-end") return machine;
  }
  throw new Error(`the guest runs on, processor ${machine.processors.current}`);
}

function started(machine: Machine): Machine {
  machine.start();
  return machine;
}

const hashOf = (machine: Machine): string => toHex(machine.stateHash());

function stateStore() {
  let bytes = new Uint8Array(0);
  return {
    get sizeBytes() {
      return bytes.length;
    },
    setSize: (sizeBytes: number) => {
      bytes = new Uint8Array(sizeBytes);
    },
    writeAt: (offset: number, part: Uint8Array) => bytes.set(part, offset),
    readAt: (offset: number, into: Uint8Array) => into.set(bytes.subarray(offset, offset + into.length)),
  };
}

const TIERS: readonly Tier[] = ["interp", "jit"];

describe.each(TIERS)("several vCPUs, tier %s", (tier) => {
  it.each([2, 4, 8])("%i start by INIT and start-up, and no locked addition of theirs is lost", (cpus) => {
    const machine = runToEnd(started(guest(counting(cpus), { cpus, tier })));
    expect(machine.state, machine.crash?.reason).toBe("off");
    expect(machine.memory.read32(COUNTER)).toBe(cpus * ROUNDS);
    for (const vcpu of machine.vcpus) expect(vcpu.retired).toBeGreaterThan(ROUNDS * 2);
    expect(machine.retired).toBe(machine.vcpus.reduce((sum, { retired }) => sum + retired, 0));
  });

  it("interrupts and NMIs from one wake the other", () => {
    const machine = runToEnd(started(guest(WAKING, { cpus: 2, tier })));
    expect(machine.state, machine.crash?.reason).toBe("off");
    expect(machine.memory.read32(COUNTER + 12)).toBe(1);
    expect(machine.memory.read32(COUNTER + 16)).toBe(1);
  });

  it("INIT stops one, which waits for the next start-up", () => {
    const machine = runToEnd(started(guest(STOPPED, { cpus: 2, tier })));
    expect(machine.state, machine.crash?.reason).toBe("off");
    expect(machine.processors.save().waiting).toEqual([false, true]);
    expect(machine.vcpus[1]?.getState().cs.selector).toBe(0xf000);
  });

  it("code that one changes, the other runs as it is now", () => {
    const machine = runToEnd(started(guest(PATCHED, { cpus: 2, tier })));
    expect(machine.state, machine.crash?.reason).toBe("off");
  });

  it("a triple fault of any is a crash, and the report says whose", () => {
    const { crash } = runToEnd(started(guest(CRASHING, { cpus: 2, tier })));
    expect(crash?.code).toBe("triple-fault");
    expect(crash?.index).toBe(1);
    expect(crash?.others?.map(({ index }) => index)).toEqual([0]);
  });

  it.each([
    [counting(3), 3],
    [WAKING, 2],
  ])("ends in the same state however it is sliced", (code, cpus) => {
    const hashes = [900, 20_000, 5_000_000].map((sliceNs) =>
      hashOf(runToEnd(started(guest(code, { cpus, tier, sliceNs })))),
    );
    expect(new Set(hashes).size).toBe(1);
  });

  it("saved at any moment and restored, it ends as if it had not been", () => {
    const whole = hashOf(runToEnd(started(guest(counting(3), { cpus: 3, tier }))));
    for (const slices of [0, 2, 5]) {
      const machine = started(guest(counting(3), { cpus: 3, tier, sliceNs: 23_456 }));
      for (let i = 0; i < slices; i++) machine.runSlice();
      const store = stateStore();
      saveMachine(machine, store);
      const restored = guest(counting(3), { cpus: 3, tier });
      restoreMachine(restored, store);
      expect(hashOf(restored)).toBe(hashOf(machine));
      restored.resume();
      expect(hashOf(runToEnd(restored))).toBe(whole);
    }
  });

  it("recorded on the wall clock, it replays to the same state", () => {
    const machine = guest(WAKING, { cpus: 2, tier, clock: "wall" });
    const parts: Uint8Array[] = [];
    const sink = { write: (bytes: Uint8Array) => void parts.push(bytes.slice()) };
    machine.attachLog(new EventRecorder(sink, recordingHeader(machine.spec, null), 0));
    runToEnd(started(machine));
    machine.finishLog();
    const bytes = Uint8Array.from(parts.flatMap((part) => [...part]));
    let at = 0;
    const replay = guest(WAKING, { cpus: 2, tier, clock: "wall", sliceNs: 7000 });
    replay.attachLog(
      new EventReplay({
        read: (into) => {
          const part = bytes.subarray(at, at + into.length);
          into.set(part);
          at += part.length;
          return part.length;
        },
      }),
    );
    expect(hashOf(runToEnd(started(replay), 200_000))).toBe(hashOf(machine));
    expect(replay.retired).toBe(machine.retired);
  });
});

describe("several vCPUs", () => {
  it("interpreter and translations end in the same state", () => {
    const hashes = TIERS.map((tier) => hashOf(runToEnd(started(guest(counting(4), { cpus: 4, tier })))));
    expect(hashes[0]).toBe(hashes[1]);
  });

  it("a state of two is none of one, and says so", () => {
    const machine = started(guest(counting(2), { cpus: 2 }));
    const store = stateStore();
    saveMachine(machine, store);
    expect(() => restoreMachine(guest(counting(2), { cpus: 1 }), store)).toThrow(/cpus differs/);
  });

  it("has 1 to 8", () => {
    for (const cpus of [0, 9, 1.5]) expect(() => machineSpec({ memoryBytes: MEMORY_BYTES, cpus })).toThrow(/1 to 8/);
  });
});
