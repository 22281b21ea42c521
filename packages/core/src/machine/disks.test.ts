// Disks of a machine: completions are events, so a replay needs no disk, and a restored machine goes on with what was
// under way.
import { expect, test } from "vitest";
import type { BlockBackend, BlockChannel } from "../devices/block-channel.ts";
import type { Device } from "../devices/device.ts";
import { MemoryBlocks } from "../devices/memory-blocks.ts";
import { StateReader } from "../state/reader.ts";
import { toHex } from "../state/sha256.ts";
import type { Board, BoardWiring } from "./board-interface.ts";
import { EventRecorder } from "./event-recorder.ts";
import { EventReplay } from "./event-replay.ts";
import { type EventLog, LiveLog } from "./events.ts";
import { createFakeBoard, createFakeEngine, createFakeRam, FAKE_PORT, type FakeProgram } from "./fake-machine.ts";
import { Machine } from "./machine.ts";
import { type ClockMode, machineSpec } from "./spec.ts";

const DISK_PORT = 0x20;
const BUFFER = 0x2000;
const DISK_BYTES = 64 * 512;
/** Asks for sectors now and then, mixes, waits for the timer. */
const PROGRAM: FakeProgram = {
  code: [
    { op: "out", port: FAKE_PORT.TIMER, value: 997 },
    { op: "sti" },
    { op: "out", port: DISK_PORT, value: 3 },
    { op: "mix" },
    { op: "out", port: DISK_PORT, value: 40 },
    { op: "hlt" },
    { op: "store", mask: 0xfff },
    { op: "jmp", to: 1 },
  ],
  handlers: { 64: 8, 65: 8, 66: 8 },
};
const program: FakeProgram = { ...PROGRAM, code: [...PROGRAM.code, { op: "iret" }] };

/** Reads the sector that is written to its port, xor what it counts, and writes every third one back. */
function boardWithDisk(wiring: BoardWiring): Board {
  const board = createFakeBoard(wiring);
  let count = 0;
  const channel: BlockChannel = wiring.context.openDisk("disk0", ({ id, bytes }) => {
    if (bytes.length > 0) wiring.context.memory.write(BUFFER + (id % 4) * 512, bytes);
  });
  const ask = (sector: number): void => {
    const id = count++;
    const offset = ((sector + id) % 64) * 512;
    const isWrite = id % 3 === 0;
    if (isWrite) channel.writeBuffer(512).fill(id);
    channel.submit({ id, operation: isWrite ? "write" : "read", offset, length: 512 });
  };
  const disk: Device = {
    name: "disk0",
    schema: { id: "test-disk", version: 1 },
    reset: () => {},
    save: () => ({ count }),
    restore: (state) => {
      count = new StateReader(state, "disk0").u32("count");
    },
  };
  const writePort: Board["bus"]["writePort"] = (port, size, value) =>
    port === DISK_PORT ? ask(value) : board.bus.writePort(port, size, value);
  return { ...board, devices: [...board.devices, disk], bus: { ...board.bus, writePort } };
}

function build(clock: ClockMode, sliceNs: number, log: EventLog, blocks: BlockBackend | undefined): Machine {
  const memory = createFakeRam(4);
  let wallNs = 0;
  return new Machine({
    spec: machineSpec({ memoryBytes: 2 ** 24, clock }),
    memory,
    engine: createFakeEngine(memory, program),
    createBoard: boardWithDisk,
    output: () => {},
    blocks,
    wallNs: () => (wallNs += 700),
    log,
    sliceNs,
  });
}

function diskOfBytes(): Uint8Array {
  return Uint8Array.from({ length: DISK_BYTES }, (_, i) => i * 7);
}

/** Completions come late and in another order. */
function lateBlocks(disk: Uint8Array): BlockBackend {
  const blocks = new MemoryBlocks({ disk0: disk });
  let asked = 0;
  return {
    writeBuffer: (channel, length) => blocks.writeBuffer(channel, length),
    submit: (channel, request) => blocks.submit(channel, request),
    get hasDone() {
      return blocks.hasDone && ++asked % 2 === 0;
    },
    take: () => (++asked % 3 === 0 ? blocks.take() : undefined),
  };
}

test.each<ClockMode>(["virtual", "wall"])("a %s run with a disk replays without one", (clock) => {
  const parts: Uint8Array[] = [];
  const header = { spec: {}, startHash: null, files: {} };
  const recorder = new EventRecorder({ write: (bytes) => parts.push(bytes.slice()) }, header);
  const disk = diskOfBytes();
  const machine = build(clock, 3000, recorder, lateBlocks(disk));
  machine.start();
  while (machine.vcpu.retired < 4000) machine.runSlice();
  machine.finishLog();
  expect(disk).not.toEqual(diskOfBytes());
  const recorded = Uint8Array.from(parts.flatMap((part) => [...part]));
  let at = 0;
  const source = {
    read: (into: Uint8Array) => {
      const part = recorded.subarray(at, at + into.length);
      into.set(part);
      at += part.length;
      return part.length;
    },
  };
  const replay = build(clock, 1234, new EventReplay(source), undefined);
  replay.start();
  for (let slices = 0; replay.runSlice().kind !== "replay-end"; slices++) expect(slices).toBeLessThan(100_000);
  expect(toHex(replay.stateHash())).toBe(toHex(machine.stateHash()));
});

test("what was asked for is done when the guest waits, and counted until then", () => {
  const machine = build("virtual", 3000, new LiveLog(), new MemoryBlocks({ disk0: diskOfBytes() }));
  machine.start();
  while (machine.vcpu.retired < 1000) expect(machine.runSlice().kind).not.toBe("blocked");
  expect(machine.requestsUnderWay).toBeLessThan(10);
  const bytes = new Uint8Array(512);
  machine.memory.read(BUFFER + 512, bytes);
  expect(bytes.some((byte) => byte !== 0)).toBe(true);
});
