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
import { machineSpec } from "./spec.ts";
import { testKernel } from "./test-kernel.ts";

const MEMORY_BYTES = 16 << 20;
const ROUNDS = 20_000;
const COUNTER = 0x9_0000;

const hex = (...lines: string[]): number[] =>
  (lines.join("").match(/[0-9a-f]{2}/g) ?? []).map((byte) => Number.parseInt(byte, 16));
const le = (value: number, bytes: number): string =>
  Array.from({ length: bytes }, (_, i) => (Math.floor(value / 256 ** i) % 256).toString(16).padStart(2, "0")).join("");

/** From 0x80000 on, for start-up vector 0x80. cs: 0x8000, ds: 0x9000, where COUNTER is [0], the number done [8]. */
const TRAMPOLINE = 0x8_0000;
const POWER_OFF = "66ba0406 66b8003c 66ef f4 ebfd";
/** INIT and start-up to all others; ebx is the local APIC. */
const START_OTHERS = `bb0000e0fe c78300030000${le(0xc4500, 4)} c78300030000${le(0xc4680, 4)}`;
/** pause; cmp dword [COUNTER + offset], value; jne */
const waitFor = (offset: number, value: number): string => `f390 833c25${le(COUNTER + offset, 4)}${le(value, 1)} 75f4`;
const waitForDone = (count: number): string => waitFor(8, count);
const command = (icr: number, destination = 0): string =>
  `c78310030000${le(destination * 2 ** 24, 4)} c78300030000${le(icr, 4)}`;

/** Puts real-mode code at the trampoline: rep movsb from behind the boot code. */
function guestCode(boot: string, others: string): Uint8Array {
  const other = hex(others);
  // lea rsi, [rip + rest]; mov edi, TRAMPOLINE; mov ecx, n; rep movsb
  const rest = hex(boot);
  const copy = hex(`488d35${le(12 + rest.length, 4)} bf${le(TRAMPOLINE, 4)} b9${le(other.length, 4)} f3a4`);
  return Uint8Array.from([...copy, ...rest, ...other]);
}

const IN_DATA = "b80090 8ed8";
/** lock inc dword [0], ROUNDS times; lock inc dword [8]; hlt for ever. */
const COUNTING = `${IN_DATA} b9${le(ROUNDS, 2)} f066ff060000 e2f8 f066ff060800 f4 ebfd`;
const counting = (cpus: number): Uint8Array =>
  guestCode(
    `${START_OTHERS} b9${le(ROUNDS, 4)} f0ff0425${le(COUNTER, 4)} ffc9 75f4 ${waitForDone(cpus - 1)} ${POWER_OFF}`,
    COUNTING,
  );

/** Two handlers, of vector 0x40 with an EOI and of NMI, which count at [12] and [16]. */
const HANDLERS = `6650 6651 6652 66b90b080000 6631c0 6631d2 0f30 66ff060c00 665a 6659 6658 cf 66ff061000 cf`;
/** x2APIC mode, enabled; then it halts for an interrupt, and for an NMI with interrupts off. */
const WOKEN = `eb26 ${HANDLERS} ${IN_DATA} 66b91b000000 0f32 660d00040000 0f30 66b90f080000 66b8ff010000 6631d2 0f30
  f066ff060800 fb f4 fa f066ff060800 f4 f066ff060800 f4 ebfd`;
const WAKING = guestCode(
  `c7042500010000${le(0x8000_0002, 4)} c7042508000000${le(0x8000_0022, 4)} ${START_OTHERS}
   ${waitForDone(1)} ${command(0x4040, 1)} ${waitForDone(2)} ${command(0x4400, 1)} ${waitForDone(3)} ${POWER_OFF}`,
  WOKEN,
);

/** Counts for ever; after an INIT the counter stands still for a million rounds, or there is a ud2. */
const STOPPED = guestCode(
  `${START_OTHERS} f390 833c25${le(COUNTER, 4)}00 74f4 ${command(0xc4500)} 8b0425${le(COUNTER, 4)}
   b940420f00 ffc9 75fc 3b0425${le(COUNTER, 4)} 7402 0f0b ${POWER_OFF}`,
  `${IN_DATA} f066ff060000 ebf8`,
);

/** Stores a constant at [20] for ever, which the first one changes in the code, 38 times; that it may write there it knows from before. */
const TOUCH = `c60425${le(TRAMPOLINE + 0x800, 4)}01`;
const PATCHED = guestCode(
  `${TOUCH} ${TOUCH} ${TOUCH} ${START_OTHERS} ${waitFor(20, 1)} 41bc02000000
   44882425${le(TRAMPOLINE + 6, 4)} f390 44392425${le(COUNTER + 20, 4)} 75f4 41ffc4 4183fc28 75e3 ${POWER_OFF}`,
  `${IN_DATA} b80100 a31400 ebf8`,
);

/** lidt of zeros; ud2. */
const CRASHING = guestCode(`${START_OTHERS} f390 ebfc`, `${IN_DATA} 0f011e2000 0f0b`);

interface Options {
  readonly cpus: number;
  readonly tier?: Tier;
  readonly sliceNs?: number;
  readonly clock?: "wall" | "virtual";
}

function guest(code: Uint8Array, { cpus, tier = "interp", sliceNs, clock = "virtual" }: Options) {
  const kernel = testKernel(code);
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
