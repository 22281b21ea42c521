import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { gsiOfIntx, isaIrqOfIntx, MEMORY_MAP, PM_BLOCK, PORT_MAP } from "../../machine/board-map.ts";
import { type AcpiOptions, buildAcpiTables } from "./tables.ts";

const MIB = 0x10_0000;

/** What a guest finds, starting from the root pointer. */
function readTables(cpuCount = 1, more: Partial<AcpiOptions> = {}) {
  const { writes, rsdp } = buildAcpiTables({ cpuCount, ...more });
  const ram = new Uint8Array(MIB);
  for (const { gpa, bytes } of writes) ram.set(bytes, gpa);
  const view = new DataView(ram.buffer);
  const signature = (at: number, length = 4): string => String.fromCharCode(...ram.subarray(at, at + length));
  const sum = (at: number, length: number): number => ram.subarray(at, at + length).reduce((a, b) => a + b, 0) & 0xff;
  const tableAt = (at: number): DataView => {
    const length = view.getUint32(at + 4, true);
    expect(sum(at, length)).toBe(0);
    return new DataView(ram.buffer, at, length);
  };
  expect(signature(rsdp, 8)).toBe("RSD PTR ");
  expect([sum(rsdp, 20), sum(rsdp, 36)]).toEqual([0, 0]);
  const xsdt = tableAt(Number(view.getBigUint64(rsdp + 24, true)));
  const rsdt = tableAt(view.getUint32(rsdp + 16, true));
  expect(rsdt.byteLength - 36).toBe((xsdt.byteLength - 36) / 2);
  for (let i = 0; 36 + 4 * i < rsdt.byteLength; i++)
    expect(rsdt.getUint32(36 + 4 * i, true)).toBe(Number(xsdt.getBigUint64(36 + 8 * i, true)));
  const tables = new Map<string, DataView>();
  for (let at = 36; at < xsdt.byteLength; at += 8) {
    const gpa = Number(xsdt.getBigUint64(at, true));
    tables.set(signature(gpa), tableAt(gpa));
  }
  const fadt = tables.get("FACP")!;
  tables.set("DSDT", tableAt(fadt.getUint32(40, true)));
  return { writes, tables, fadt, signature, facs: fadt.getUint32(36, true) };
}

/** The entries of the MADT, as byte arrays. */
function madtEntries(madt: DataView): number[][] {
  const entries: number[][] = [];
  for (let at = 44; at < madt.byteLength; at += madt.getUint8(at + 1)) {
    entries.push([...new Uint8Array(madt.buffer, madt.byteOffset + at, madt.getUint8(at + 1))]);
  }
  return entries;
}

describe("ACPI tables", () => {
  it("are reachable from the root pointer, whole, without overlaps, in the BIOS area", () => {
    const { tables, writes } = readTables();
    expect([...tables.keys()].sort()).toEqual(["APIC", "DSDT", "FACP", "HPET", "MCFG", "WAET"]);
    const sorted = writes.toSorted((a, b) => a.gpa - b.gpa);
    expect(sorted[0]!.gpa).toBe(0xe_0000);
    for (const [i, { gpa, bytes }] of sorted.entries()) {
      expect(gpa + bytes.length).toBeLessThanOrEqual(sorted[i + 1]?.gpa ?? MIB);
    }
  });

  it("FADT: hardware in ACPI mode, fixed power and sleep buttons, the blocks of the board, reset by 0xCF9", () => {
    const { fadt, facs, signature } = readTables();
    expect(fadt.byteLength).toBe(276);
    expect([facs % 64, signature(facs)]).toEqual([0, "FACS"]);
    expect(fadt.getUint32(48, true)).toBe(0);
    expect(fadt.getUint16(46, true)).toBe(9);
    expect(fadt.getUint32(56, true)).toBe(PORT_MAP.powerManagement + PM_BLOCK.pm1Event);
    expect(fadt.getUint32(76, true)).toBe(PORT_MAP.powerManagement + PM_BLOCK.pmTimer);
    expect(fadt.getUint32(112, true)).toBe(0x445);
    expect([fadt.getUint8(116), Number(fadt.getBigUint64(120, true)), fadt.getUint8(128)]).toEqual([1, 0xcf9, 6]);
    expect(fadt.getBigUint64(140, true)).toBe(BigInt(fadt.getUint32(40, true)));
  });

  it("MADT: a local APIC for each processor, the IO-APIC, the timer's and the SCI's overrides", () => {
    const entries = madtEntries(readTables(3).tables.get("APIC")!);
    expect(entries.filter(([type]) => type === 0).map((entry) => entry[3])).toEqual([0, 1, 2]);
    expect(entries.filter(([type]) => type === 1)).toEqual([[1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]]);
    expect(entries.filter(([type]) => type === 2)).toEqual([
      [2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
      [2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0],
    ]);
  });

  it("MADT: processors that may come are told from those that are there", () => {
    const { tables } = readTables(3, { isCpuThere: (index) => index !== 1 });
    const entries = madtEntries(tables.get("APIC")!).filter(([type]) => type === 0);
    expect(entries.map((entry) => entry[4])).toEqual([1, 2, 1]);
  });

  it("MCFG and HPET point at the board's windows", () => {
    const { tables } = readTables();
    expect(tables.get("MCFG")!.getBigUint64(44, true)).toBe(BigInt(MEMORY_MAP.mmconfigStart));
    expect(tables.get("MCFG")!.getUint8(55)).toBe(255);
    expect(tables.get("HPET")!.getBigUint64(44, true)).toBe(BigInt(MEMORY_MAP.hpetStart));
  });

  it("refuses processor counts that local APIC entries cannot name", () => {
    expect(() => buildAcpiTables({ cpuCount: 0 })).toThrow(RangeError);
    expect(() => buildAcpiTables({ cpuCount: 256 })).toThrow(RangeError);
    expect(madtEntries(readTables(255).tables.get("APIC")!)).toHaveLength(255 + 4);
  });
});

// An independent reader of AML: Debian's package acpica-tools.
const hasIasl = spawnSync("iasl", ["-v"]).status === 0;

describe.skipIf(!hasIasl)(
  `DSDT as iasl reads it${hasIasl ? "" : " (skipped: iasl, of acpica-tools, is not installed)"}`,
  () => {
    it("disassembles to the board's devices and compiles again without a remark, and so do the static tables", () => {
      const folder = mkdtempSync(join(tmpdir(), "twinmetal-acpi-"));
      try {
        const dsdt = readTables(2, { has8042: true, hasFwCfg: true, hasFloppy: true }).tables.get("DSDT")!;
        writeFileSync(join(folder, "dsdt.dat"), new Uint8Array(dsdt.buffer, dsdt.byteOffset, dsdt.byteLength));
        const run = (...args: string[]): string => {
          const { status, stdout, stderr } = spawnSync("iasl", args, { cwd: folder, encoding: "utf8" });
          expect(status, stdout + stderr).toBe(0);
          return stdout + stderr;
        };
        run("-d", "dsdt.dat");
        const source = readFileSync(join(folder, "dsdt.dsl"), "utf8");
        for (const text of [
          'Name (_HID, EisaId ("PNP0A08")',
          'Name (_CID, EisaId ("PNP0A03")',
          'Name (_HID, EisaId ("PNP0501")',
          'Name (_HID, EisaId ("PNP0B00")',
          'Name (_HID, "ACPI0007"',
          "Name (\\_S5, Package (0x04)",
          "WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode",
          "IRQNoFlags ()",
          'Name (_HID, EisaId ("PNP0700")',
          "DMA (Compatibility, NotBusMaster, Transfer8",
        ]) {
          expect(source).toContain(text);
        }
        const routes = [
          ...source.matchAll(/Package \(0x04\)\s*\{\s*(0x[0-9A-F]+),\s*(\w+),\s*Zero,\s*(0x[0-9A-F]+)\s*\}/g),
        ];
        expect(routes).toHaveLength(256);
        expect(source).toMatch(/Method \(\\_PIC, 1[^{]*\{\s*\\?PICM = Arg0\s*\}/);
        expect(source).toMatch(
          /Method \(_PRT, 0[^{]*\{\s*If \(\\?PICM\)\s*\{\s*Return \(PRTA\)[^}]*\}\s*Return \(PRTP\)/,
        );
        expect(source).toMatch(/Scope \(\\_GPE\)\s*\{\s*Method \(_E05, 0[^{]*\{\s*Notify \(\\_SB\.VGEN, 0x80\)/);
        expect(source).toContain('ToUUID ("33db4d5b-1ff7-401c-9657-7441c03dd766") /* PCI Host Bridge Device */');
        const pinOf = (text: string): number => (text === "Zero" ? 0 : text === "One" ? 1 : Number(text));
        for (const [i, [, address, pin, interrupt]] of routes.entries()) {
          const interruptOf = i < 128 ? gsiOfIntx : isaIrqOfIntx;
          expect(Number(interrupt)).toBe(interruptOf(Math.floor(Number(address) / 0x1_0000), pinOf(pin!)));
        }
        expect(run("dsdt.dsl")).toMatch(/0 Errors, 0 Warnings, 0 Remarks/);
        const hot = readTables(2, { isCpuThere: (index) => index < 1 }).tables.get("DSDT")!;
        writeFileSync(join(folder, "hot.dat"), new Uint8Array(hot.buffer, hot.byteOffset, hot.byteLength));
        run("-d", "hot.dat");
        expect(run("hot.dsl")).toMatch(/0 Errors, 0 Warnings, 0 Remarks/);
        expect(readFileSync(join(folder, "hot.dsl"), "utf8")).toMatch(
          /Notify \(\\_SB\.C001, 0x03\) \/\/ Eject Request/,
        );
        for (const [signature, { buffer, byteOffset, byteLength }] of readTables(2).tables) {
          if (signature === "DSDT") continue;
          writeFileSync(join(folder, `${signature}.dat`), new Uint8Array(buffer, byteOffset, byteLength));
          expect(run("-d", `${signature}.dat`)).not.toMatch(/error|warning|invalid|unknown/i);
          expect(run(`${signature}.dsl`)).toMatch(/0 Errors, 0 Warnings, 0 Remarks/);
        }
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    });
  },
);

describe("SRAT", () => {
  it("is there with memory that can be plugged in, and tells where", () => {
    const hotMemory = { start: MEMORY_MAP.highRamStart, sizeBytes: 1024 * MIB };
    const { tables } = readTables(2, { hotMemory, bootRam: { lowRamBytes: 256 * MIB } });
    const srat = tables.get("SRAT")!;
    const memory: (number | bigint)[][] = [];
    const processors: number[] = [];
    for (let at = 48; at < srat.byteLength; at += srat.getUint8(at + 1)) {
      if (srat.getUint8(at) === 0) processors.push(srat.getUint8(at + 3));
      else
        memory.push([srat.getBigUint64(at + 8, true), srat.getBigUint64(at + 16, true), srat.getUint32(at + 28, true)]);
    }
    expect(processors).toEqual([0, 1]);
    expect(memory).toEqual([
      [0n, BigInt(256 * MIB), 1],
      [BigInt(hotMemory.start), BigInt(hotMemory.sizeBytes), 3],
    ]);
  });
});
