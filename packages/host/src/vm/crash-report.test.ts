import type { CrashReport, SegmentRegister, VcpuState } from "@twinmetal/core";
import { expect, test } from "vitest";
import { formatCrashReport, privilegeLevel } from "./crash-report.ts";

const segment = (selector: number): SegmentRegister => ({ selector, base: 0n, limit: 0xffff_ffff, attributes: 0xa09b });
const vcpu: VcpuState = {
  gpr: Array.from({ length: 16 }, (_, i) => BigInt(i)),
  rip: 0xffff_ffff_8100_0000n,
  rflags: 2n,
  es: segment(0),
  cs: segment(0x33),
  ss: segment(0x2b),
  ds: segment(0),
  fs: segment(0),
  gs: segment(0),
  ldtr: segment(0),
  tr: segment(0x40),
  gdtr: { base: 0x1000n, limit: 0x7f },
  idtr: { base: -4096n, limit: 0xfff },
  cr0: 0x8005_0033n,
  cr2: 0xdead_beefn,
  cr3: 0x1000n,
  cr4: 0x6f0n,
  cr8: 0n,
  pdptes: [0n, 0n, 0n, 0n],
  xcr0: 3n,
  dr: [0n, 0n, 0n, 0n, 0xffff_0ff0n, 0x400n],
  fxsave: new Uint8Array(512),
  msrs: {},
  halted: false,
  interruptShadow: "none",
  nmiPending: false,
  nmiMasked: false,
  retired: 1_234_567,
};
const crash: CrashReport = { code: "triple-fault", reason: "It fell.", retired: 1_234_567, vcpu };

test("a report names the reason, every register and the branches that there were", () => {
  const report = formatCrashReport({ ...crash, recentBranches: [0n, 0x1000n, 0x2000n, 0xffff_ffff_8100_0000n] });
  expect(report).toContain("(triple-fault) after 1,234,567 instructions.\nIt fell.\n");
  for (const name of ["rax", "rdi", "r8 ", "r15", "rip", "cr2", "cr4", "idtr", "ldtr"]) expect(report).toContain(name);
  expect(report).toContain("cr2 00000000deadbeef");
  expect(report).toContain("idtr fffffffffffff000 limit fff");
  expect(report).toContain("cs   0033");
  expect(report).toContain(
    "last 3 branch targets, oldest first\n  0000000000001000  0000000000002000  ffffffff81000000\n",
  );
  expect(report.split("\n").every((line) => line.length <= 100)).toBe(true);
});

test("the privilege level is that of the code segment, and 0 in real mode", () => {
  expect(privilegeLevel(vcpu)).toBe(3);
  expect(privilegeLevel({ ...vcpu, cr0: 0x10n })).toBe(0);
  expect(formatCrashReport(crash)).not.toContain("branch");
});
