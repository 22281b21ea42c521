import { expect, test } from "vitest";
import type { RecordingHeader } from "./event-format.ts";
import { EventRecorder } from "./event-recorder.ts";
import { EventReplay } from "./event-replay.ts";
import { type EventPosition, type MachineEvent, ReplayError } from "./events.ts";

class Tape {
  readonly parts: number[] = [];
  write(bytes: Uint8Array): void {
    for (const byte of bytes) this.parts.push(byte);
  }
  get bytes(): Uint8Array {
    return Uint8Array.from(this.parts);
  }
}

/** Gives 7 bytes at a time: a source need not fill what it is given. */
function sourceOf(bytes: Uint8Array) {
  let at = 0;
  return {
    read(into: Uint8Array): number {
      const count = Math.min(7, into.length, bytes.length - at);
      into.set(bytes.subarray(at, at + count));
      at += count;
      return count;
    },
  };
}

const HEADER: RecordingHeader = {
  spec: { memoryBytes: 2 ** 26 },
  startHash: null,
  files: { kernel: new Uint8Array(32).fill(7) },
};
const END: MachineEvent = { kind: "end", stateHash: new Uint8Array(32).fill(9) };

const EVENTS: readonly (readonly [EventPosition, MachineEvent])[] = [
  [
    { retired: 0, skips: 0 },
    { kind: "clock", advanceNs: 0, psPerInstruction: 1000 },
  ],
  [
    { retired: 0, skips: 3 },
    { kind: "input", channel: "console0", bytes: new TextEncoder().encode("ls\n") },
  ],
  [
    { retired: 0, skips: 200 },
    { kind: "power", action: "button" },
  ],
  [
    { retired: 5, skips: 0 },
    { kind: "input", channel: "uart0", bytes: new Uint8Array(65_536).fill(1) },
  ],
  [
    { retired: 5, skips: 0 },
    { kind: "input", channel: "console0", bytes: new Uint8Array(0) },
  ],
  [
    { retired: 6, skips: 0 },
    { kind: "block", channel: "disk0", id: 0xffff_ffff, isOk: true, bytes: new Uint8Array(1000).fill(2) },
  ],
  [
    { retired: 6, skips: 0 },
    { kind: "block", channel: "disk0", id: 0, isOk: false, bytes: new Uint8Array(0) },
  ],
  [{ retired: 2 ** 33, skips: 0 }, { kind: "nmi" }],
  [
    { retired: 2 ** 33, skips: 0 },
    { kind: "epoch", advanceSeconds: 86_400 },
  ],
  [
    { retired: 2 ** 53 - 1, skips: 0 },
    { kind: "clock", advanceNs: 2 ** 45, psPerInstruction: 16_667 },
  ],
  [
    { retired: 2 ** 53 - 1, skips: 0 },
    { kind: "check", digest: 0xffff_ffff },
  ],
];

function recording(): Uint8Array {
  const tape = new Tape();
  const recorder = new EventRecorder(tape, HEADER);
  for (const [at, event] of EVENTS) recorder.enter(at, event);
  recorder.finish({ retired: 2 ** 53 - 1, skips: 0 }, (END as { stateHash: Uint8Array }).stateHash);
  return tape.bytes;
}

function playAll(bytes: Uint8Array): MachineEvent[] {
  const replay = new EventReplay(sourceOf(bytes));
  const events: MachineEvent[] = [];
  while (replay.next !== undefined) events.push(replay.take(replay.next)!);
  return events;
}

test("a replay gives the recorded events at their positions", () => {
  const replay = new EventReplay(sourceOf(recording()));
  expect(replay.header).toEqual(HEADER);
  for (const [at, event] of EVENTS) {
    expect(replay.next).toEqual(at);
    expect(replay.take(at)).toEqual(event);
  }
  expect(replay.take({ retired: 2 ** 53 - 1, skips: 0 })).toEqual(END);
  expect(replay.next).toBeUndefined();
});

test("an event stays in the log until its position is reached", () => {
  const replay = new EventReplay(sourceOf(recording()));
  replay.take({ retired: 0, skips: 0 });
  expect(replay.take({ retired: 0, skips: 2 })).toBeUndefined();
  expect(replay.take({ retired: 0, skips: 3 })?.kind).toBe("input");
});

test("passing an event's position is a divergence, with the count", () => {
  const replay = new EventReplay(sourceOf(recording()));
  try {
    replay.take({ retired: 17, skips: 0 });
    expect.unreachable();
  } catch (error) {
    expect(error).toMatchObject({ code: "diverged", retired: 17 });
  }
});

test("live events are refused in a replay", () => {
  const replay = new EventReplay(sourceOf(recording()));
  expect(() => replay.enter({ retired: 1, skips: 0 }, { kind: "nmi" })).toThrow(/live nmi/);
});

test("every truncation is noticed, every flipped bit refused", () => {
  const tape = new Tape();
  const recorder = new EventRecorder(tape, HEADER);
  for (const [at, event] of EVENTS.filter(([, e]) => e.kind !== "input" || e.bytes.length < 100)) {
    recorder.enter(at, event);
    recorder.flush();
  }
  recorder.finish({ retired: 2 ** 53 - 1, skips: 0 }, new Uint8Array(32));
  const bytes = tape.bytes;
  for (let length = 0; length < bytes.length; length++) {
    expect(() => playAll(bytes.subarray(0, length))).toThrow(ReplayError);
  }
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = bytes.slice();
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    expect(() => playAll(flipped), `bit ${bit}`).toThrow(ReplayError);
  }
});

test("foreign files and newer versions are named as such", () => {
  expect(() => new EventReplay(sourceOf(new TextEncoder().encode("not a recording")))).toThrow(
    /no Twinmetal recording/,
  );
  const newer = recording();
  newer[8] = 2;
  expect(() => new EventReplay(sourceOf(newer))).toThrow(/version 2/);
});

test("asks for a check at intervals", () => {
  const recorder = new EventRecorder(new Tape(), HEADER, 100, 1000);
  expect(recorder.wantsCheck(1099)).toBe(false);
  expect(recorder.wantsCheck(1100)).toBe(true);
  recorder.enter({ retired: 1200, skips: 0 }, { kind: "check", digest: 1 });
  expect(recorder.wantsCheck(2199)).toBe(false);
});
