import { describe, expect, test } from "vitest";
import { type FileReader, piecesOf } from "./boot-file.ts";
import { SETUP_HEADER } from "./bzimage.ts";
import { type LinuxBootOptions, type LinuxBootPlan, planLinuxBoot } from "./linux-boot.ts";
import { LinuxBootError, type LinuxBootErrorCode } from "./linux-boot-error.ts";

const MIB = 0x10_0000;
const PAYLOAD_BYTES = 0x4000;

interface KernelFields {
  version?: number;
  xloadflags?: number;
  initSize?: number;
  prefAddress?: bigint;
  alignment?: number;
  relocatable?: number;
  cmdlineSize?: number;
  initrdAddrMax?: number;
  jump?: number;
  setupSects?: number;
  syssize?: number;
  trailingBytes?: number;
}

/** A file with the layout of a bzImage; its protected-mode part counts up. */
function bzImage(fields: KernelFields = {}): Uint8Array {
  const setupBytes = (fields.setupSects ?? 3) * 512 + 512;
  const file = new Uint8Array(setupBytes + PAYLOAD_BYTES + (fields.trailingBytes ?? 0));
  const view = new DataView(file.buffer);
  file.set([0x4d, 0x5a]);
  view.setUint8(SETUP_HEADER.setup_sects, fields.setupSects ?? 3);
  view.setUint32(SETUP_HEADER.syssize, fields.syssize ?? PAYLOAD_BYTES / 16, true);
  view.setUint16(SETUP_HEADER.boot_flag, 0xaa55, true);
  view.setUint16(SETUP_HEADER.jump, 0xeb | ((fields.jump ?? 0x6a) << 8), true);
  view.setUint32(SETUP_HEADER.header, 0x53726448, true);
  view.setUint16(SETUP_HEADER.version, fields.version ?? 0x20f, true);
  view.setUint8(SETUP_HEADER.loadflags, 1);
  view.setUint32(SETUP_HEADER.initrd_addr_max, fields.initrdAddrMax ?? 0x7fff_ffff, true);
  view.setUint32(SETUP_HEADER.kernel_alignment, fields.alignment ?? 0x20_0000, true);
  view.setUint8(SETUP_HEADER.relocatable_kernel, fields.relocatable ?? 1);
  view.setUint16(SETUP_HEADER.xloadflags, fields.xloadflags ?? 0x7f, true);
  view.setUint32(SETUP_HEADER.cmdline_size, fields.cmdlineSize ?? 2047, true);
  view.setBigUint64(SETUP_HEADER.setup_data, 0xdead_beefn, true);
  view.setBigUint64(SETUP_HEADER.pref_address, fields.prefAddress ?? 0x100_0000n, true);
  view.setUint32(SETUP_HEADER.init_size, fields.initSize ?? 50 * MIB, true);
  for (let i = 0; i < PAYLOAD_BYTES; i++) file[setupBytes + i] = i * 7;
  return file;
}

function plan(options: Partial<LinuxBootOptions> = {}): LinuxBootPlan {
  return planLinuxBoot({ kernel: bzImage(), commandLine: "", ram: { lowRamBytes: 96 * MIB }, ...options });
}

function failure(options: Partial<LinuxBootOptions>): LinuxBootError {
  try {
    plan(options);
  } catch (error) {
    if (error instanceof LinuxBootError) return error;
    throw error;
  }
  throw new Error("planLinuxBoot did not refuse");
}

/** RAM as the plan leaves it. */
function apply(result: LinuxBootPlan, sizeBytes = 96 * MIB): DataView {
  const ram = new Uint8Array(sizeBytes);
  for (const { gpa, bytes } of result.writes) ram.set(bytes, gpa);
  for (const { gpa, file, start, length } of result.copies) {
    let at = gpa;
    for (const piece of piecesOf(file, start, length)) {
      ram.set(piece, at);
      at += piece.length;
    }
  }
  return new DataView(ram.buffer);
}

/** Walks the plan's page tables as the processor would. */
function translate(ram: DataView, cr3: bigint, address: number): number | undefined {
  const entry = (table: number, index: number): number => Number(ram.getBigUint64(table + index * 8, true));
  const pml4e = entry(Number(cr3), 0);
  const pdpte = entry(pml4e & ~0xfff, Math.floor(address / 2 ** 30));
  const pde = entry(pdpte & ~0xfff, Math.floor(address / 2 ** 21) % 512);
  if ((pml4e & 3) !== 3 || (pdpte & 3) !== 3 || (pde & 0x83) !== 0x83) return undefined;
  return pde - (pde % 2 ** 21) + (address % 2 ** 21);
}

describe("the plan", () => {
  test("puts the protected-mode part at its preferred address and enters 0x200 above it", () => {
    const result = plan({ kernel: bzImage({ trailingBytes: 333 }) });
    const ram = apply(result);
    expect(result.kernelAddress).toBe(16 * MIB);
    expect(result.state.rip).toBe(BigInt(16 * MIB + 0x200));
    expect(ram.getUint8(16 * MIB + PAYLOAD_BYTES - 1)).toBe(((PAYLOAD_BYTES - 1) * 7) & 0xff);
    expect(ram.getUint8(16 * MIB + PAYLOAD_BYTES)).toBe(0);
  });

  test("rounds the load address of a relocatable kernel up to its alignment and leaves a fixed one alone", () => {
    const kernel = { prefAddress: 0x110_0000n, initSize: MIB };
    expect(plan({ kernel: bzImage(kernel) }).kernelAddress).toBe(0x120_0000);
    expect(plan({ kernel: bzImage({ ...kernel, relocatable: 0 }) }).kernelAddress).toBe(0x110_0000);
    expect(plan({ kernel: bzImage({ prefAddress: 0n, initSize: MIB }) }).kernelAddress).toBe(0x20_0000);
  });

  test("fills the boot parameters", () => {
    const result = plan({
      commandLine: "console=ttyS0 größe",
      acpi: { rsdp: 0xe_0000, writes: [{ gpa: 0xe_0000, bytes: new TextEncoder().encode("RSD PTR ") }] },
    });
    const ram = apply(result);
    const params = Number(result.state.gpr[6]);
    expect(ram.getUint16(params + SETUP_HEADER.version, true)).toBe(0x20f);
    expect(ram.getUint8(params + SETUP_HEADER.type_of_loader)).toBe(0xff);
    expect(ram.getBigUint64(params + SETUP_HEADER.setup_data, true)).toBe(0n);
    expect(ram.getBigUint64(params + 0x70, true)).toBe(0xe_0000n);
    expect(ram.getUint8(params + 0x1ef)).toBe(0);
    const text = ram.getUint32(params + SETUP_HEADER.cmd_line_ptr, true);
    const expected = new TextEncoder().encode("console=ttyS0 größe\0");
    expect(new Uint8Array(ram.buffer, text, expected.length)).toEqual(expected);
    expect(ram.getUint8(0xe_0000)).toBe("R".charCodeAt(0));
  });

  test("describes memory without overlaps, in order, with the configuration window reserved", () => {
    const result = plan({ ram: { lowRamBytes: 96 * MIB, highRamBytes: 1024 * MIB } });
    const ram = apply(result);
    const params = Number(result.state.gpr[6]);
    const entries = Array.from({ length: ram.getUint8(params + 0x1e8) }, (_, index) => {
      const at = params + 0x2d0 + index * 20;
      const start = Number(ram.getBigUint64(at, true));
      return { start, end: start + Number(ram.getBigUint64(at + 8, true)), type: ram.getUint32(at + 16, true) };
    });
    for (const [index, entry] of entries.entries()) {
      expect(entry.end).toBeGreaterThan(entry.start);
      expect(entry.start).toBeGreaterThanOrEqual(entries[index - 1]?.end ?? 0);
    }
    expect(entries).toContainEqual({ start: 0, end: 0x9_fc00, type: 1 });
    expect(entries).toContainEqual({ start: MIB, end: 96 * MIB, type: 1 });
    expect(entries).toContainEqual({ start: 2 ** 32, end: 2 ** 32 + 1024 * MIB, type: 1 });
    expect(entries.find((entry) => entry.start === 0xb000_0000)).toMatchObject({ type: 2, end: 0xc000_0000 });
  });

  test("enters in long mode with flat segments and the first 4 GiB mapped to themselves", () => {
    const result = plan();
    const { state } = result;
    const ram = apply(result);
    for (const address of [0, 0x1234, 0xa_0000, 16 * MIB + 0x200, 0xb000_0000, 0xffff_ffff]) {
      expect(translate(ram, state.cr3, address)).toBe(address);
    }
    expect(state.cr0 & 0x8000_0001n).toBe(0x8000_0001n);
    expect(state.msrs[0xc000_0080]).toBe(0x500n);
    expect(state.rflags & 0x200n).toBe(0n);
    expect([state.cs.selector, state.ds.selector, state.es.selector, state.ss.selector]).toEqual([
      0x10, 0x18, 0x18, 0x18,
    ]);
    const gdt = Number(state.gdtr.base);
    expect(ram.getBigUint64(gdt + 0x10, true)).toBe(0x00af_9b00_0000_ffffn);
    expect(ram.getBigUint64(gdt + 0x18, true)).toBe(0x00cf_9300_0000_ffffn);
    expect(ram.getBigUint64(gdt + 0x20, true)).toBe(0x0000_8b00_0000_0067n);
  });

  test("its writes do not overlap", () => {
    const { writes, copies } = plan({ initrd: new Uint8Array(5 * MIB), commandLine: "x".repeat(2047) });
    const all = [...writes.map(({ gpa, bytes }) => ({ gpa, length: bytes.length })), ...copies];
    const sorted = all.toSorted((a, b) => a.gpa - b.gpa);
    for (const [index, write] of sorted.entries()) {
      const before = sorted[index - 1];
      if (before) expect(write.gpa).toBeGreaterThanOrEqual(before.gpa + before.length);
    }
  });
});

test("a file that is read in pieces gives the same guest memory as its bytes", () => {
  const kernel = bzImage();
  const initrd = Uint8Array.from({ length: 200_001 }, (_, i) => i * 11);
  const reader = (bytes: Uint8Array): FileReader => ({
    length: bytes.length,
    readAt: (offset, into) => {
      expect(offset + into.length).toBeLessThanOrEqual(bytes.length);
      into.set(bytes.subarray(offset, offset + into.length));
    },
  });
  const whole = apply(plan({ kernel, initrd }));
  const inPieces = apply(plan({ kernel: reader(kernel), initrd: reader(initrd) }));
  expect(Buffer.compare(new Uint8Array(whole.buffer), new Uint8Array(inPieces.buffer))).toBe(0);
});

describe("the initrd", () => {
  test("goes to the top of memory, page-aligned", () => {
    const result = plan({ initrd: new Uint8Array(5000).fill(1) });
    expect(result.initrdAddress).toBe(96 * MIB - 0x2000);
    const ram = apply(result);
    const params = Number(result.state.gpr[6]);
    expect(ram.getUint32(params + SETUP_HEADER.ramdisk_image, true)).toBe(96 * MIB - 0x2000);
    expect(ram.getUint32(params + SETUP_HEADER.ramdisk_size, true)).toBe(5000);
  });

  test("stays below the header's limit", () => {
    const kernel = bzImage({ initrdAddrMax: 0x4fff_ffff });
    const ram = { lowRamBytes: 2048 * MIB };
    expect(plan({ kernel, ram, initrd: new Uint8Array(4096) }).initrdAddress).toBe(0x5000_0000 - 4096);
  });

  test("takes the room below the kernel when there is none above", () => {
    const ram = { lowRamBytes: 67 * MIB };
    expect(plan({ ram, initrd: new Uint8Array(8 * MIB) }).initrdAddress).toBe(8 * MIB);
  });

  test("too large: says how much room there is and how much memory it takes", () => {
    const error = failure({ initrd: new Uint8Array(40 * MIB) });
    expect(error.code).toBe("initrd-too-large");
    expect(error.roomBytes).toBe(30 * MIB);
    expect(error.neededBytes).toBe(106 * MIB);
    expect(error.message).toContain("106 MiB");
  });

  test("too large for any memory size, where the header's limit leaves no room", () => {
    const error = failure({ kernel: bzImage({ initrdAddrMax: 0 }), initrd: new Uint8Array(MIB) });
    expect(error).toMatchObject({ code: "initrd-too-large", neededBytes: undefined });
  });

  test("empty is refused", () => {
    expect(failure({ initrd: new Uint8Array(0) }).code).toBe("initrd-empty");
  });
});

describe("what is refused", () => {
  const cases: [LinuxBootErrorCode, string, Partial<LinuxBootOptions>][] = [
    ["protocol-too-old", "2.10", { kernel: bzImage({ version: 0x20a }) }],
    ["kernel-empty", "empty", { kernel: new Uint8Array(0) }],
    ["kernel-malformed", "alignment", { kernel: bzImage({ alignment: 3 }) }],
    ["kernel-malformed", "alignment", { kernel: bzImage({ alignment: 0 }) }],
    ["kernel-malformed", "header", { kernel: bzImage({ jump: 0xff }) }],
    ["kernel-malformed", "header", { kernel: bzImage({ jump: 0 }) }],
    ["kernel-malformed", "entry point", { kernel: bzImage({ syssize: 0 }) }],
    ["kernel-malformed", "run at", { kernel: bzImage({ prefAddress: 0xffff_ffff_ffff_ffffn }) }],
    ["kernel-malformed", "run at", { kernel: bzImage({ initSize: 0xffff_ffff }) }],
    ["kernel-malformed", "run at", { kernel: bzImage({ relocatable: 0, prefAddress: 0n }) }],
    ["kernel-truncated", "truncated", { kernel: bzImage({ syssize: 0xffff_ffff }) }],
    ["kernel-truncated", "truncated", { kernel: bzImage().subarray(0, -1) }],
    ["kernel-truncated", "truncated", { kernel: bzImage().subarray(0, 0x240) }],
    ["kernel-truncated", "truncated", { kernel: bzImage().subarray(0, 100) }],
    ["command-line-too-long", "2047", { commandLine: "ö".repeat(1024) }],
    ["command-line-invalid", "zero byte", { commandLine: "a\0b" }],
  ];
  test.each(cases)("%s: %s", (code, text, options) => {
    const error = failure(options);
    expect(error.code).toBe(code);
    expect(error.message).toContain(text);
  });

  test("memory below what the kernel needs: says how much it takes", () => {
    expect(failure({ ram: { lowRamBytes: 64 * MIB } })).toMatchObject({
      code: "memory-too-small",
      neededBytes: 66 * MIB,
    });
    const withInitrd = failure({ ram: { lowRamBytes: 64 * MIB }, initrd: new Uint8Array(10 * MIB) });
    expect(withInitrd.neededBytes).toBe(76 * MIB);
    expect(withInitrd.message).toContain("kernel and initrd need at least 76 MiB");
  });

  const text = (value: string): Uint8Array => Uint8Array.from(value.padEnd(2048), (c) => c.charCodeAt(0));
  const at = (offset: number, value: string): Uint8Array => {
    const bytes = new Uint8Array(0x9000);
    bytes.set(
      Uint8Array.from(value, (c) => c.charCodeAt(0)),
      offset,
    );
    return bytes;
  };
  test.each([
    ["ELF file for x86-64", text("\x7fELF\x02\x01\x01".padEnd(18, "\0") + "\x3e\0")],
    ["ELF file for arm64", text("\x7fELF\x02\x01\x01".padEnd(18, "\0") + "\xb7\0")],
    ["gzip", text("\x1f\x8b\x08")],
    ["for arm64", at(0x38, "ARM\x64")],
    ["cpio", text("070701")],
    ["qcow2", text("QFI\xfb\0\0\0\x03")],
    ["ISO 9660", at(0x8001, "CD001")],
    ["Debian package", text("!<arch>\ndebian-binary")],
    ["HTML", text("\n<!DOCTYPE html>")],
    ["text file", text("hello")],
    ["text file", text("").subarray(0, 7)],
    ["zeros", new Uint8Array(4096)],
    ["unknown", new Uint8Array(3).fill(0x80)],
  ])("not a bzImage, but %s", (kind, kernel) => {
    const error = failure({ kernel });
    expect(error.code).toBe("not-a-bzimage");
    expect(error.message).toContain(kind);
  });

  test("random damage to a header is either planned or refused, never anything else", () => {
    let seed = 0x1234_5678;
    const random = (): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return seed >>> 8;
    };
    for (let round = 0; round < 3000; round++) {
      const kernel = bzImage();
      for (let flips = 0; flips < 4; flips++) kernel[0x1f1 + (random() % 0x80)] = random();
      const file = round % 5 === 0 ? kernel.subarray(0, random() % kernel.length) : kernel;
      const ram = { lowRamBytes: (1 + (random() % 2048)) * MIB };
      try {
        const result = plan({ kernel: file, ram, initrd: new Uint8Array(1 + (random() % 9000)) });
        for (const { gpa, bytes } of result.writes) {
          expect(gpa).toBeGreaterThanOrEqual(0x1000);
          expect(gpa + bytes.length).toBeLessThanOrEqual(ram.lowRamBytes);
        }
        for (const { gpa, file, start, length } of result.copies) {
          expect(gpa).toBeGreaterThanOrEqual(0x1000);
          expect(gpa + length).toBeLessThanOrEqual(ram.lowRamBytes);
          expect(start + length).toBeLessThanOrEqual(file.length);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(LinuxBootError);
      }
    }
  });
});
