import { describe, expect, test } from "vitest";
import type { StateValue } from "../devices/device.ts";
import { Ram } from "../memory/ram.ts";
import { decodeState, encodeState } from "../state/codec.ts";
import { crc32c } from "../state/crc32c.ts";
import { StateError } from "../state/errors.ts";
import { STATE_MAGIC, StateFile, writeStateFile } from "../state/file.ts";
import { sha256, toHex } from "../state/sha256.ts";
import { EventRecorder } from "./event-recorder.ts";
import { EventReplay } from "./event-replay.ts";
import { createFakeBoard, createFakeEngine, FAKE_PORT, FAKE_VECTOR, type FakeProgram } from "./fake-machine.ts";
import { Machine } from "./machine.ts";
import {
  machineForms,
  machineSections,
  readSpec,
  restoreMachine,
  restoreSections,
  saveMachine,
  saveSections,
} from "./machine-state.ts";
import { checkRecording, recordingHeader } from "./recording.ts";
import { machineSpec } from "./spec.ts";

const PAGE = 4096;
const PAGES = 600;

/** A sparse file in memory. */
class MemoryFile {
  sizeBytes = 0;
  readonly pages = new Map<number, Uint8Array>();

  setSize(sizeBytes: number): void {
    this.sizeBytes = sizeBytes;
  }

  writeAt(offset: number, bytes: Uint8Array): void {
    if (offset + bytes.length > this.sizeBytes) throw new RangeError("beyond the size");
    for (let i = 0; i < bytes.length; i++) this.poke(offset + i, bytes[i]!);
  }

  readAt(offset: number, into: Uint8Array): void {
    if (offset + into.length > this.sizeBytes) throw new RangeError("beyond the end");
    for (let done = 0; done < into.length; ) {
      const at = offset + done;
      const count = Math.min(PAGE - (at % PAGE), into.length - done);
      const page = this.pages.get(Math.floor(at / PAGE));
      if (page) into.set(page.subarray(at % PAGE, (at % PAGE) + count), done);
      else into.fill(0, done, done + count);
      done += count;
    }
  }

  peek(offset: number): number {
    return this.pages.get(Math.floor(offset / PAGE))?.[offset % PAGE] ?? 0;
  }

  poke(offset: number, value: number): void {
    const index = Math.floor(offset / PAGE);
    let page = this.pages.get(index);
    if (!page) {
      page = new Uint8Array(PAGE);
      this.pages.set(index, page);
    }
    page[offset % PAGE] = value;
  }

  copy(): MemoryFile {
    const copy = new MemoryFile();
    copy.sizeBytes = this.sizeBytes;
    for (const [index, page] of this.pages) copy.pages.set(index, page.slice());
    return copy;
  }
}

const PROGRAM: FakeProgram = {
  code: [
    { op: "out", port: FAKE_PORT.TIMER, value: 1234 },
    { op: "sti" },
    { op: "mix" },
    { op: "store", mask: 0x1f_ffff },
    { op: "in", port: FAKE_PORT.RANDOM },
    { op: "in", port: FAKE_PORT.NOW_NS },
    { op: "hlt" },
    { op: "jmp", to: 2 },
    { op: "in", port: FAKE_PORT.DATA },
    { op: "store", mask: 0xff },
    { op: "iret" },
  ],
  handlers: { [FAKE_VECTOR.TIMER]: 9, [FAKE_VECTOR.DATA]: 8, [FAKE_VECTOR.BUTTON]: 10 },
};

function machineOf(options: { seed?: string; highPages?: number; clock?: "wall" | "virtual" } = {}): Machine {
  const highPages = options.highPages ?? 20;
  const memory = new Ram({
    buffer: new ArrayBuffer((PAGES + highPages) * PAGE),
    byteOffset: 0,
    segments: [
      { start: 0, sizeBytes: PAGES * PAGE, kind: "ram" },
      { start: 2 ** 32, sizeBytes: highPages * PAGE, kind: "ram" },
    ],
  });
  const host = { wallNs: 0 };
  return new Machine({
    spec: machineSpec({ memoryBytes: 2 ** 24, clock: options.clock ?? "virtual", seed: options.seed ?? "01" }),
    memory,
    engine: createFakeEngine(memory, PROGRAM),
    createBoard: createFakeBoard,
    output: () => {},
    wallNs: () => (host.wallNs += 3_000),
    sliceNs: 500,
  });
}

function runTo(machine: Machine, retired: number): void {
  while (machine.vcpu.retired < retired) machine.runSlice(retired);
}

function savedAt(retired: number): { machine: Machine; file: MemoryFile } {
  const machine = machineOf();
  machine.start();
  machine.input("data", Uint8Array.of(1, 2, 3));
  machine.memory.write(300 * PAGE + 5, new Uint8Array(3 * PAGE).fill(0xaa));
  machine.memory.write64(2 ** 32 + 8 * PAGE, 7n);
  runTo(machine, retired);
  const file = new MemoryFile();
  saveMachine(machine, file);
  return { machine, file };
}

const hashOf = (machine: Machine): string => toHex(machine.stateHash());

describe("save and restore", () => {
  test("a restored machine goes on exactly as the saved one", () => {
    for (const retired of [1, 2, 3, 100, 1_001, 5_003]) {
      const { machine, file } = savedAt(retired);
      const copy = machineOf();
      restoreMachine(copy, file);
      expect(copy.state).toBe("paused");
      expect(hashOf(copy), `at ${retired}`).toBe(hashOf(machine));
      copy.resume();
      runTo(machine, retired + 4_000);
      runTo(copy, retired + 4_000);
      expect(hashOf(copy), `after ${retired}`).toBe(hashOf(machine));
    }
  });

  test("saving changes nothing", () => {
    const { machine } = savedAt(2_000);
    const plain = machineOf();
    plain.start();
    plain.input("data", Uint8Array.of(1, 2, 3));
    plain.memory.write(300 * PAGE + 5, new Uint8Array(3 * PAGE).fill(0xaa));
    plain.memory.write64(2 ** 32 + 8 * PAGE, 7n);
    runTo(machine, 3_000);
    runTo(plain, 3_000);
    expect(hashOf(machine)).toBe(hashOf(plain));
  });

  test("without RAM, which came by another way", () => {
    const { machine } = savedAt(1_001);
    const sections = saveSections(machine);
    const filled = (): Machine => {
      const copy = machineOf();
      for (const [i, { bytes }] of machine.memory.regions.entries()) copy.memory.regions[i]!.bytes.set(bytes);
      return copy;
    };
    const copy = filled();
    restoreSections(copy, sections);
    expect([copy.state, hashOf(copy)]).toEqual(["paused", hashOf(machine)]);
    expect(machineForms(machine)).toEqual(machineSections(machine).map(({ state: _state, ...form }) => form));
    const names = (change: (list: StateValue[]) => StateValue[]): Uint8Array => {
      const { sections: list } = decodeState(sections) as { sections: StateValue[] };
      return encodeState({ sections: change([...list]) });
    };
    const refused = (bytes: Uint8Array): string => {
      try {
        restoreSections(filled(), bytes);
      } catch (error) {
        return (error as StateError).code;
      }
      return "nothing";
    };
    expect(refused(names((list) => list))).toBe("nothing");
    expect(refused(names((list) => list.slice(1)))).toBe("missing");
    expect(refused(names((list) => [...list, list[0]!]))).toBe("format");
    expect(refused(names((list) => [...list, { name: "gpu0", schema: "gpu", version: 1, state: 0 }]))).toBe("unknown");
    expect(refused(sections.subarray(0, sections.length - 1))).toBe("format");
    expect(refused(Uint8Array.of(1))).not.toBe("nothing");
  });

  test("equal states give equal files, and only used pages are in them", () => {
    const [first, second] = [savedAt(1_000).file, savedAt(1_000).file];
    expect([...first.pages.keys()]).toEqual([...second.pages.keys()]);
    for (const [index, page] of first.pages) expect(page).toEqual(second.pages.get(index));
    expect(first.pages.size).toBeLessThan(20);
    expect(first.sizeBytes % 2 ** 21).toBe(((PAGES + 20) * PAGE) % 2 ** 21);
  });

  test("RAM lies in the file as in memory, so that it can be mapped", () => {
    const { machine, file } = savedAt(1_000);
    const ramOffset = file.sizeBytes - machine.memory.sizeBytes;
    expect(ramOffset % 2 ** 21).toBe(0);
    expect(file.peek(ramOffset + 300 * PAGE + 5)).toBe(0xaa);
    expect(file.peek(ramOffset + (PAGES + 8) * PAGE)).toBe(7);
  });

  test("wall mode: guest time goes on where it stopped, and never backwards", () => {
    const machine = machineOf({ clock: "wall" });
    machine.start();
    for (let i = 0; i < 200; i++) machine.runSlice();
    const file = new MemoryFile();
    saveMachine(machine, file);
    const copy = machineOf({ clock: "wall" });
    restoreMachine(copy, file);
    expect(copy.clock.nowNs()).toBe(machine.clock.nowNs());
    expect(copy.clock.psPerInstruction).toBe(machine.clock.psPerInstruction);
    copy.resume();
    copy.runSlice();
    expect(copy.clock.nowNs()).toBeGreaterThanOrEqual(machine.clock.nowNs());
  });

  test.each(["virtual", "wall"] as const)("a %s recording can start from a saved state", (clock) => {
    const machine = machineOf({ clock });
    machine.start();
    for (let i = 0; i < 40; i++) machine.runSlice();
    const file = new MemoryFile();
    saveMachine(machine, file);
    const tape: number[] = [];

    const recorded = machineOf({ clock });
    restoreMachine(recorded, file);
    const header = recordingHeader(recorded.spec, recorded.stateHash());
    const recorder = new EventRecorder({ write: (bytes) => tape.push(...bytes) }, header, recorded.position.retired);
    recorded.attachLog(recorder);
    recorded.resume();
    for (let i = 0; i < 60; i++) {
      if (i % 9 === 0) recorded.input("data", Uint8Array.of(i));
      recorded.runSlice();
    }
    recorded.finishLog();

    const replayed = machineOf({ clock });
    restoreMachine(replayed, file);
    let at = 0;
    const log = new EventReplay({
      read: (into) => {
        const part = tape.slice(at, at + into.length);
        into.set(part);
        at += part.length;
        return part.length;
      },
    });
    expect(() => checkRecording(log.header, replayed.spec, replayed.stateHash())).not.toThrow();
    replayed.attachLog(log);
    replayed.resume();
    while (replayed.runSlice().kind === "ran");
    expect(replayed.runSlice()).toEqual({ kind: "replay-end" });
    expect(hashOf(replayed)).toBe(hashOf(recorded));
  });

  test("the spec can be read first, to build the machine from it", () => {
    const { machine, file } = savedAt(10);
    expect(readSpec(StateFile.open(file))).toEqual(machine.spec);
  });
});

describe("what a bad state gets", () => {
  const restoring = (file: MemoryFile, options: Parameters<typeof machineOf>[0] = {}) => {
    return () => restoreMachine(machineOf(options), file);
  };
  const codeOf = (run: () => void): string => {
    try {
      run();
    } catch (error) {
      if (error instanceof StateError) return error.code;
      throw error;
    }
    return "accepted";
  };

  test("truncated anywhere: refused", () => {
    const { file } = savedAt(500);
    for (const length of [0, 1, 7, 8, 75, 76, 4095, 4096, 5000, 2 ** 21, file.sizeBytes - PAGE, file.sizeBytes - 1]) {
      const cut = file.copy();
      cut.sizeBytes = length;
      expect(codeOf(restoring(cut)), `${length}`).toBe("format");
    }
    const longer = file.copy();
    longer.sizeBytes++;
    expect(restoring(longer)).toThrow(/longer/);
  });

  test("a flipped bit in header, sections or used pages: refused", () => {
    const { file } = savedAt(500);
    const ramOffset = file.sizeBytes - (PAGES + 20) * PAGE;
    const hash = (() => {
      const machine = machineOf();
      restoreMachine(machine, file);
      return hashOf(machine);
    })();
    let refused = 0;
    for (const [index, page] of file.pages) {
      for (let at = 0; at < PAGE; at += index * PAGE < ramOffset ? 31 : 1499) {
        page[at]! ^= 1 << (at & 7);
        try {
          const machine = machineOf();
          restoreMachine(machine, file);
          expect(hashOf(machine)).toBe(hash);
        } catch (error) {
          expect(error).toBeInstanceOf(StateError);
          refused++;
        }
        page[at]! ^= 1 << (at & 7);
      }
    }
    expect(refused).toBeGreaterThan(60);
  });

  test("foreign, unfinished and newer files are named as such", () => {
    const { file } = savedAt(10);
    const foreign = file.copy();
    foreign.poke(1, 0x50);
    expect(restoring(foreign)).toThrow(/no saved state of Twinmetal/);
    const unfinished = file.copy();
    for (let i = 0; i < 76; i++) unfinished.poke(i, 0);
    expect(restoring(unfinished)).toThrow(/never finished/);
    const newer = file.copy();
    newer.poke(STATE_MAGIC.length, 2);
    expect(restoring(newer)).toThrow(/format version 2/);
  });

  test("a state of another machine", () => {
    const { file } = savedAt(10);
    expect(restoring(file, { seed: "02" })).toThrow(/seed differs/);
    expect(codeOf(restoring(file, { seed: "02" }))).toBe("foreign");
    expect(codeOf(restoring(file, { highPages: 21 }))).toBe("foreign");
  });

  test("unknown, left-over, missing, repeated and newer sections, by name", () => {
    const { machine } = savedAt(10);
    const sections = machineSections(machine);
    const write = (list: typeof sections): MemoryFile => {
      const file = new MemoryFile();
      writeStateFile(file, list, machine.memory.regions);
      return file;
    };
    const extra = { name: "device/tv0", schema: "tv", version: 1, state: null };
    expect(restoring(write([...sections, extra]))).toThrow(/section device\/tv0 for which this machine has no place/);
    expect(restoring(write(sections.filter(({ name }) => name !== "clock")))).toThrow(/no section clock/);
    expect(restoring(write([...sections, sections[1]!]))).toThrow(/section clock twice/);
    const changed = (change: object) =>
      write(sections.map((s) => (s.name === "device/fake0" ? { ...s, ...change } : s)));
    expect(restoring(changed({ version: 2 }))).toThrow(/device\/fake0 has version 2/);
    expect(restoring(changed({ schema: "uart-16550" }))).toThrow(/holds a "uart-16550", but this machine has a "fake"/);
    expect(restoring(changed({ state: { periodNs: 1 } }))).toThrow(/fake0.queue/);
    const halfway = machineOf();
    expect(() => restoreMachine(halfway, changed({ state: {} }))).toThrow(StateError);
    expect(halfway.state).toBe("crashed");
    expect(() => halfway.start()).toThrow(/crashed and cannot start/);
    expect(() => write([...sections, { ...extra, name: "future" }])).toThrow(/future/);
  });

  test("version 1 of a vCPU, which had no PDPTEs", () => {
    const { machine } = savedAt(10);
    const old = machineSections(machine).map((section) => {
      if (section.name !== "vcpu0") return section;
      const { pdptes: _, ...state } = section.state as Record<string, never>;
      return { ...section, version: 1, state };
    });
    const write = (sections: typeof old): MemoryFile => {
      const file = new MemoryFile();
      writeStateFile(file, sections, machine.memory.regions);
      return file;
    };
    const copy = machineOf();
    restoreMachine(copy, write(old));
    expect(hashOf(copy)).toBe(hashOf(machine));
    const versioned = (version: number) => old.map((s) => (s.name === "vcpu0" ? { ...s, version } : s));
    for (const version of [0, 3]) expect(restoring(write(versioned(version)))).toThrow(`vcpu0 has version ${version}`);
    expect(restoring(write(versioned(2)))).toThrow(/pdptes/);
  });

  test("an unknown section written by a newer program", () => {
    const { machine } = savedAt(10);
    const file = new MemoryFile();
    writeStateFile(file, machineSections(machine), machine.memory.regions);
    // Rename one section in the table, then make the hashes right again.
    const head = new Uint8Array(76);
    file.readAt(0, head);
    const view = new DataView(head.buffer);
    const tableOffset = Number(view.getBigUint64(24, true));
    const table = new Uint8Array(view.getUint32(32, true));
    file.readAt(tableOffset, table);
    const [from, to] = ["random", "rudder"].map((text) => new TextEncoder().encode(text)) as [Uint8Array, Uint8Array];
    table.set(
      to,
      table.findIndex((_, i) => from.every((byte, k) => table[i + k] === byte)),
    );
    head.set(sha256(table), 40);
    view.setUint32(72, crc32c(head.subarray(0, 72)), true);
    file.writeAt(tableOffset, table);
    file.writeAt(0, head);
    expect(restoring(file)).toThrow(/"rudder" that this version does not know/);
  });
});
