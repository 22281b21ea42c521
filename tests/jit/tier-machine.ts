// A whole machine on a tier of the jit engine, in this thread: board, virtual clock, serial port.

import { JitEngine, type JitEngineOptions } from "../../packages/core/src/engine/jit-engine.ts";
import { ramOf } from "../../packages/core/src/lockstep/code-execution.ts";
import { createBoard, SERIAL_CHANNEL } from "../../packages/core/src/machine/board.ts";
import { EventRecorder } from "../../packages/core/src/machine/event-recorder.ts";
import { EventReplay } from "../../packages/core/src/machine/event-replay.ts";
import type { EventLog } from "../../packages/core/src/machine/events.ts";
import { Machine, type SliceResult } from "../../packages/core/src/machine/machine.ts";
import { recordingHeader } from "../../packages/core/src/machine/recording.ts";
import { type MachineSpec, machineSpec } from "../../packages/core/src/machine/spec.ts";
import { sha256, toHex } from "../../packages/core/src/state/sha256.ts";

export interface BootFiles {
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array;
  readonly commandLine: string;
  readonly memoryBytes: number;
}

export interface TierMachine {
  readonly machine: Machine;
  readonly engine: JitEngine;
  readonly ram: Uint8Array;
  serial(): string;
}

const reference = (bytes: Uint8Array): { sha256: string; sizeBytes: number } => ({
  sha256: toHex(sha256(bytes)),
  sizeBytes: bytes.length,
});

function specOf({ kernel, initrd, commandLine, memoryBytes }: BootFiles): MachineSpec {
  return machineSpec({
    memoryBytes,
    clock: "virtual",
    boot: { kernel: reference(kernel), ...(initrd && { initrd: reference(initrd) }), commandLine },
    devices: [{ kind: "virtio-rng", name: "rng0" }],
  });
}

export function tierMachine(
  files: BootFiles,
  tier: Partial<JitEngineOptions>,
  options: { readonly log?: EventLog; readonly sliceNs?: number } = {},
): TierMachine {
  const spec = specOf(files);
  const { memoryBytes, tscFrequencyHz } = spec;
  const engine = new JitEngine({ memoryBytes, tscFrequencyHz, sharedMemory: false, ...tier });
  let serial = "";
  const machine = new Machine({
    spec,
    memory: engine.memory,
    engine,
    createBoard: (wiring) => createBoard(wiring, files),
    output: (channel, bytes) => {
      if (channel === SERIAL_CHANNEL) serial += String.fromCharCode(...bytes);
    },
    ...options,
  });
  return { machine, engine, ram: ramOf(engine), serial: () => serial };
}

export function runToEnd(machine: Machine): SliceResult {
  let result = machine.runSlice();
  while (result.kind === "ran") result = machine.runSlice();
  return result;
}

export interface End {
  readonly result: SliceResult;
  readonly retired: number;
  readonly stateHash: string;
  readonly serial: string;
}

const endOf = ({ machine, serial }: TierMachine, result: SliceResult): End => ({
  result,
  retired: machine.vcpu.retired,
  stateHash: toHex(machine.stateHash()),
  serial: serial(),
});

/** Runs to the end and records it; `beforeSlice` may type. */
export function record(
  files: BootFiles,
  tier: Partial<JitEngineOptions>,
  beforeSlice: (machine: Machine, slice: number) => void = () => {},
): { readonly tape: Uint8Array; readonly end: End } {
  const parts: Uint8Array[] = [];
  const log = new EventRecorder(
    { write: (bytes) => void parts.push(bytes.slice()) },
    recordingHeader(specOf(files), null),
    0,
    CHECK_EVERY,
  );
  const made = tierMachine(files, tier, { log, sliceNs: 20_011 });
  made.machine.start();
  let result: SliceResult = { kind: "ran" };
  for (let slice = 0; result.kind === "ran"; slice++) {
    beforeSlice(made.machine, slice);
    result = made.machine.runSlice();
  }
  made.machine.finishLog();
  return { tape: Buffer.concat(parts), end: endOf(made, result) };
}

/** Instructions between two checksums of the processor in a recording. */
const CHECK_EVERY = 50_000;

/** Runs a recording to its end. */
export function replay(files: BootFiles, tier: Partial<JitEngineOptions>, tape: Uint8Array, sliceNs: number): End {
  let at = 0;
  const read = (into: Uint8Array): number => {
    const part = tape.subarray(at, at + into.length);
    into.set(part);
    at += part.length;
    return part.length;
  };
  const made = tierMachine(files, tier, { log: new EventReplay({ read }), sliceNs });
  made.machine.start();
  return endOf(made, runToEnd(made.machine));
}
