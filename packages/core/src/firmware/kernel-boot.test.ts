import { describe, expect, it } from "vitest";
import { type KernelBootOptions, type KernelPlan, kernelKindOf, planKernelBoot } from "./kernel-boot.ts";
import { LinuxBootError } from "./linux-boot-error.ts";

const MIB = 2 ** 20;
const CODE = Uint8Array.of(0xf4, 0xeb, 0xfd, 0x90);
const [LOAD, NOTE] = [1, 4];

/** With one segment of CODE at 1 MiB, 64 KiB of memory, and a note of this type. */
function elfFile({ noteType = 18, entry = 0xc010_0002, prefix = new Uint8Array() as Uint8Array } = {}): Uint8Array {
  const file = new Uint8Array(0x200 + prefix.length);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  view.setUint16(18, 3, true);
  view.setUint32(24, entry, true);
  view.setUint32(28, 52, true);
  view.setUint16(42, 32, true);
  view.setUint16(44, 2, true);
  const header = (at: number, ...fields: number[]): void => {
    for (const [i, field] of fields.entries()) view.setUint32(at + 4 * i, field, true);
  };
  const codeBytes = CODE.length + prefix.length;
  header(52, LOAD, 0x180, 0xc010_0000, 0x10_0000, codeBytes, 0x1_0000, 7, 0x1000);
  header(84, NOTE, 0x100, 0, 0, 20, 20, 4, 4);
  header(0x100, 4, 4, noteType, 0x006e_6558, 0x10_0001);
  file.set(prefix, 0x180);
  file.set(CODE, 0x180 + prefix.length);
  return file;
}

/** A Multiboot header of these flags, with the addresses of the a.out kludge. */
function multibootHeader(flags: number, ...addresses: number[]): Uint8Array {
  const header = new DataView(new ArrayBuffer(12 + 4 * addresses.length));
  const fields = [0x1bad_b002, flags, -(0x1bad_b002 + flags), ...addresses];
  for (const [i, field] of fields.entries()) header.setUint32(4 * i, field, true);
  return new Uint8Array(header.buffer);
}

function kludgeFile(flags = 0x1_0003): Uint8Array {
  const file = new Uint8Array(0x100);
  file.set(multibootHeader(flags, 0x20_0010, 0x20_0000, 0, 0x20_1000, 0x20_0040), 0x20);
  file.set(CODE, 0x50);
  return file;
}

function options(kernel: Uint8Array, more: Partial<KernelBootOptions> = {}): KernelBootOptions {
  return { kernel, modules: [], commandLine: "a=1", ram: { lowRamBytes: 64 * MIB }, ...more };
}

/** Guest memory as a plan leaves it, filled with 0xAA before. */
function memoryOf({ writes, copies, zeroes }: KernelPlan): DataView {
  const ram = new Uint8Array(8 * MIB).fill(0xaa);
  for (const { gpa, bytes } of writes) ram.set(bytes, gpa);
  for (const { gpa, file, start, length } of copies) ram.set((file as Uint8Array).subarray(start, start + length), gpa);
  for (const { gpa, length } of zeroes) ram.fill(0, gpa, gpa + length);
  return new DataView(ram.buffer);
}

function textAt(memory: DataView, at: number): string {
  let text = "";
  for (let i = at; memory.getUint8(i) !== 0; i++) text += String.fromCharCode(memory.getUint8(i));
  return text;
}

const codeOf = (call: () => unknown): string => {
  try {
    call();
  } catch (error) {
    if (error instanceof LinuxBootError) return error.code;
    throw error;
  }
  return "none";
};

const MODULES = [
  { file: Uint8Array.of(1, 2, 3), commandLine: "first x" },
  { file: new Uint8Array(5000).fill(7), commandLine: "" },
];

describe("PVH", () => {
  it("loads the segments, zeroes what is behind them, and starts at the note's entry", () => {
    const plan = planKernelBoot(options(elfFile()));
    const memory = memoryOf(plan);
    expect([memory.getUint32(0x10_0000, true), memory.getUint32(0x10_0004, true), memory.getUint8(0x10_ffff)]).toEqual([
      0x90fd_ebf4, 0, 0,
    ]);
    expect(memory.getUint8(0x11_0000)).toBe(0xaa);
    expect(plan.state).toMatchObject({ rip: 0x10_0001n, cr0: 0x11n });
    expect(kernelKindOf(elfFile())).toBe("pvh");
  });

  it("tells command line, tables, memory and modules in the start info", () => {
    const acpi = { writes: [], rsdp: 0xe_0000 };
    const plan = planKernelBoot(options(elfFile(), { modules: MODULES, acpi }));
    const memory = memoryOf(plan);
    const info = Number(plan.state.gpr[3]);
    expect([0, 4, 12].map((at) => memory.getUint32(info + at, true))).toEqual([0x336e_c578, 1, 2]);
    const [list, commandLine, rsdp, map] = [16, 24, 32, 40].map((at) => Number(memory.getBigUint64(info + at, true)));
    expect(textAt(memory, commandLine!)).toBe("a=1");
    expect(rsdp).toBe(0xe_0000);
    expect(memory.getUint32(info + 48, true)).toBeGreaterThan(4);
    expect(Number(memory.getBigUint64(map! + 8, true))).toBe(0x9_fc00);
    const [start, bytes, text] = [0, 8, 16].map((at) => Number(memory.getBigUint64(list! + at, true)));
    expect([start! % 4096, bytes, memory.getUint8(start! + 2), textAt(memory, text!)]).toEqual([0, 3, 3, "first x"]);
    expect(memory.getUint8(Number(memory.getBigUint64(list! + 32, true)))).toBe(7);
  });

  it("an ELF file without its note is refused, with what would do", () => {
    expect(() => planKernelBoot(options(elfFile({ noteType: 17 })))).toThrow(/CONFIG_PVH/);
  });
});

describe("Multiboot", () => {
  it("starts an ELF kernel at its entry's physical address", () => {
    const file = elfFile({ prefix: multibootHeader(3), entry: 0xc010_000d });
    expect(kernelKindOf(file)).toBe("multiboot");
    const plan = planKernelBoot(options(file));
    expect(plan.state).toMatchObject({ rip: 0x10_000dn });
    expect(plan.state.gpr[0]).toBe(0x2bad_b002n);
  });

  it("starts a kernel with addresses in its header", () => {
    const plan = planKernelBoot(options(kludgeFile()));
    const memory = memoryOf(plan);
    expect(plan.state).toMatchObject({ rip: 0x20_0040n });
    expect(memory.getUint32(0x20_0040, true)).toBe(0x90fd_ebf4);
    expect([memory.getUint8(0x20_0fff), memory.getUint8(0x20_1000)]).toEqual([0, 0xaa]);
  });

  it("tells memory, command line and modules", () => {
    const plan = planKernelBoot(options(kludgeFile(), { modules: MODULES }));
    const memory = memoryOf(plan);
    const info = Number(plan.state.gpr[3]);
    const field = (at: number): number => memory.getUint32(info + at, true);
    expect([field(0), field(4), field(8), field(20)]).toEqual([0x24d, 639, 63 * 1024, 2]);
    expect([textAt(memory, field(16)), textAt(memory, field(64))]).toEqual(["a=1", "Twinmetal"]);
    const [start, end, text] = [0, 4, 8].map((at) => memory.getUint32(field(24) + at, true));
    expect([start! % 4096, end! - start!, textAt(memory, text!)]).toEqual([0, 3, "first x"]);
    let ram = 0;
    for (let at = field(48); at < field(48) + field(44); at += memory.getUint32(at, true) + 4)
      if (memory.getUint32(at + 20, true) === 1) ram += Number(memory.getBigUint64(at + 12, true));
    expect(ram).toBe(63 * MIB + 0x9_fc00);
  });

  it("leaves real mode a BIOS of which every service fails", () => {
    const memory = memoryOf(planKernelBoot(options(kludgeFile())));
    const stub = memory.getUint16(0x13 * 4 + 2, true) * 16 + memory.getUint16(0x13 * 4, true);
    expect(stub).toBe(0xf_ff53);
    expect(memory.getUint16(0x413, true)).toBe(639);
  });

  it("refuses demands that it does not know", () => {
    expect(codeOf(() => planKernelBoot(options(kludgeFile(0x1_0008))))).toBe("kernel-malformed");
  });
});

describe("files that do not fit", () => {
  it.each([
    ["memory-too-small", options(elfFile(), { ram: { lowRamBytes: MIB + 4096 } })],
    ["initrd-empty", options(elfFile(), { modules: [{ file: new Uint8Array(), commandLine: "" }] })],
    ["command-line-too-long", options(elfFile(), { commandLine: "x".repeat(70_000) })],
    ["command-line-invalid", options(elfFile(), { commandLine: "a\0b" })],
    ["kernel-malformed", options(elfFile().subarray(0, 60))],
    ["not-a-bzimage", options(new TextEncoder().encode("#!/bin/sh\n".repeat(100)))],
  ])("%s", (code, given) => {
    expect(codeOf(() => planKernelBoot(given))).toBe(code);
  });

  it("random damage is either planned within RAM or refused", () => {
    let seed = 1;
    const random = (): number => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return seed >>> 8;
    };
    for (const whole of [elfFile(), elfFile({ prefix: multibootHeader(3) }), kludgeFile()]) {
      for (let round = 0; round < 300; round++) {
        const file = whole.slice();
        for (let i = 0; i <= random() % 3; i++) file[(random() % 0x1a0) % file.length] = random();
        try {
          const { copies, zeroes } = planKernelBoot(options(file));
          for (const { gpa, start, length } of copies) {
            expect(gpa >= MIB && gpa + length <= 64 * MIB && start + length <= file.length).toBe(true);
          }
          for (const { gpa, length } of zeroes) expect(gpa >= MIB && gpa + length <= 64 * MIB).toBe(true);
        } catch (error) {
          if (!(error instanceof LinuxBootError)) throw error;
        }
      }
    }
  });
});
