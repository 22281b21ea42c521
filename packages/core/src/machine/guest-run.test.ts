import { describe, expect, test } from "vitest";
import { JitEngine } from "../engine/jit-engine.ts";
import { sha256, toHex } from "../state/sha256.ts";
import { createBoard, SERIAL_CHANNEL } from "./board.ts";
import { EventRecorder } from "./event-recorder.ts";
import { EventReplay } from "./event-replay.ts";
import type { EventLog } from "./events.ts";
import { Machine, type SliceResult } from "./machine.ts";
import { restoreMachine, saveMachine } from "./machine-state.ts";
import { checkRecording, recordingHeader } from "./recording.ts";
import { type ClockMode, type MachineSpec, machineSpec } from "./spec.ts";
import { BUSY_GUEST, testKernel } from "./test-kernel.ts";

const KERNEL = testKernel(BUSY_GUEST);

function specOf(clock: ClockMode, seed = "01"): MachineSpec {
  const kernel = { sha256: toHex(sha256(KERNEL)), sizeBytes: KERNEL.length };
  return machineSpec({
    memoryBytes: 16 * 2 ** 20,
    clock,
    seed,
    boot: { kernel, commandLine: "" },
    devices: [{ kind: "virtio-rng", name: "rng0" }],
  });
}

function guest(options: { clock?: ClockMode; sliceNs?: number; log?: EventLog; seed?: string } = {}) {
  const spec = specOf(options.clock ?? "virtual", options.seed);
  const engine = new JitEngine({
    memoryBytes: spec.memoryBytes,
    tscFrequencyHz: spec.tscFrequencyHz,
    sharedMemory: false,
  });
  const host = { wallNs: 0 };
  let serial = "";
  const machine = new Machine({
    spec,
    memory: engine.memory,
    engine,
    createBoard: (wiring) => createBoard(wiring, { kernel: KERNEL }),
    output: (channel, bytes) => {
      if (channel === SERIAL_CHANNEL) serial += String.fromCharCode(...bytes);
    },
    wallNs: () => host.wallNs,
    log: options.log,
    sliceNs: options.sliceNs ?? 50_000,
  });
  return { machine, host, serial: () => serial };
}

function runToEnd(machine: Machine): SliceResult {
  let result = machine.runSlice();
  while (result.kind === "ran") result = machine.runSlice();
  return result;
}

const hashOf = (machine: Machine): string => toHex(machine.stateHash());

describe("a real guest on the jit engine", () => {
  test("runs to its power-off, and slices of any size give one end state", () => {
    const ends = [997, 20_011, 50_000, 5_000_000].map((sliceNs) => {
      const { machine, serial } = guest({ sliceNs });
      machine.start();
      expect(runToEnd(machine), machine.crash?.reason).toEqual({ kind: "stopped", state: "off" });
      return { retired: machine.vcpu.retired, serial: serial(), hash: hashOf(machine) };
    });
    expect(ends[0]!.serial).toHaveLength(13);
    expect(ends[0]!.serial.at(-1)).toBe("E");
    for (const end of ends) expect(end).toEqual(ends[0]);
  });

  test("another seed gives another state", () => {
    const hashes = ["01", "02"].map((seed) => {
      const { machine } = guest({ seed });
      machine.start();
      runToEnd(machine);
      return hashOf(machine);
    });
    expect(hashes[0]).not.toBe(hashes[1]);
  });

  test.each(["virtual", "wall"] as const)("a recorded %s run with typed input replays to the same state", (clock) => {
    const tape: Uint8Array[] = [];
    const header = recordingHeader(specOf(clock), null);
    const recorder = new EventRecorder({ write: (bytes) => tape.push(bytes.slice()) }, header, 0, 50_000);
    const recorded = guest({ clock, log: recorder, sliceNs: 10_000 });
    recorded.machine.start();
    let result: SliceResult = { kind: "ran" };
    for (let slice = 0; result.kind !== "stopped"; slice++) {
      if (slice % 23 === 5) recorded.machine.input(SERIAL_CHANNEL, new TextEncoder().encode(`${slice};`));
      recorded.host.wallNs += 9_000 + ((slice * 7919) % 4_001);
      result = recorded.machine.runSlice();
      if (result.kind === "idle") recorded.host.wallNs += result.waitNs ?? 1_000;
    }
    recorded.machine.finishLog();
    expect(recorded.machine.crash).toBeUndefined();
    expect(recorded.serial()).toMatch(/5;/);
    for (const sliceNs of [1_009, 50_000]) {
      const bytes = tape.flatMap((part) => [...part]);
      const read = (into: Uint8Array): number => {
        const part = bytes.splice(0, into.length);
        into.set(part);
        return part.length;
      };
      const log = new EventReplay({ read });
      const replayed = guest({ clock, log, sliceNs });
      expect(() => checkRecording(log.header, replayed.machine.spec, null)).not.toThrow();
      replayed.machine.start();
      expect(runToEnd(replayed.machine), replayed.machine.crash?.reason).toEqual({ kind: "stopped", state: "off" });
      expect(replayed.machine.vcpu.retired).toBe(recorded.machine.vcpu.retired);
      expect(hashOf(replayed.machine)).toBe(hashOf(recorded.machine));
      expect(replayed.serial()).toBe(recorded.serial());
    }
  });

  test("saved in the middle and restored, it ends in the same state", () => {
    const straight = guest();
    straight.machine.start();
    runToEnd(straight.machine);
    for (const retired of [1, 1_000, 123_457, 300_000]) {
      const { machine } = guest({ sliceNs: 777 });
      machine.start();
      while (machine.vcpu.retired < retired) machine.runSlice(retired);
      const file = { bytes: new Uint8Array(0), sizeBytes: 0 };
      saveMachine(machine, {
        setSize: (sizeBytes) => {
          file.bytes = new Uint8Array(sizeBytes);
          file.sizeBytes = sizeBytes;
        },
        writeAt: (offset, bytes) => file.bytes.set(bytes, offset),
      });
      const copy = guest();
      restoreMachine(copy.machine, {
        sizeBytes: file.sizeBytes,
        readAt: (offset, into) => into.set(file.bytes.subarray(offset, offset + into.length)),
      });
      expect(hashOf(copy.machine), `at ${retired}`).toBe(hashOf(machine));
      copy.machine.resume();
      expect(runToEnd(copy.machine)).toEqual({ kind: "stopped", state: "off" });
      expect(hashOf(copy.machine), `from ${retired}`).toBe(hashOf(straight.machine));
    }
  });
});
