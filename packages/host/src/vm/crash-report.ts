/**
 * A machine's crash as text: reason, registers, and the last branch targets, for people who have to find out why a guest
 * died. Register names and order are the manual's.
 */
import type { CrashReport, SegmentRegister, VcpuState } from "@twinmetal/core";

const GPR_NAMES = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"] as const;
/** By its number in instructions. */
export const gprName = (index: number): string => GPR_NAMES[index] ?? `r${index}`;
const SEGMENT_NAMES = ["cs", "ss", "ds", "es", "fs", "gs", "tr", "ldtr"] as const;

/** Lines of at most 100 characters, without colours, ended by a newline. */
export function formatCrashReport(crash: CrashReport): string {
  const lines = [
    `The guest crashed (${crash.code}) after ${crash.retired.toLocaleString("en")} instructions.`,
    crash.reason,
    "",
    ...(crash.index === undefined ? [] : [`processor ${crash.index}, which ran last`]),
    ...registers(crash.vcpu),
    ...(crash.others ?? []).flatMap(({ index, state }) => ["", `processor ${index}`, ...registers(state)]),
  ];
  const branches = crash.recentBranches?.filter((target) => target !== 0n) ?? [];
  if (branches.length > 0) {
    lines.push("", `last ${branches.length} branch targets, oldest first`);
    for (let i = 0; i < branches.length; i += 4)
      lines.push(
        `  ${branches
          .slice(i, i + 4)
          .map(hex)
          .join("  ")}`,
      );
  }
  return `${lines.join("\n")}\n`;
}

function registers(vcpu: VcpuState): string[] {
  const lines: string[] = [];
  const pairs: [string, bigint][] = vcpu.gpr.map((value, i) => [gprName(i), value]);
  for (let i = 0; i < pairs.length; i += 4) lines.push(row(pairs.slice(i, i + 4)));
  const { rip, rflags, cr0, cr2, cr3, cr4 } = vcpu;
  lines.push(
    row([
      ["rip", rip],
      ["rfl", rflags],
      ["cr2", cr2],
      ["cr3", cr3],
    ]),
    row([
      ["cr0", cr0],
      ["cr4", cr4],
      ["xcr", vcpu.xcr0],
      ["dr6", vcpu.dr[4] ?? 0n],
    ]),
  );
  for (const name of SEGMENT_NAMES) lines.push(segment(name, vcpu[name]));
  lines.push(`gdtr ${hex(vcpu.gdtr.base)} limit ${vcpu.gdtr.limit.toString(16)}`);
  lines.push(`idtr ${hex(vcpu.idtr.base)} limit ${vcpu.idtr.limit.toString(16)}`);
  lines.push(`CPL ${privilegeLevel(vcpu)}${vcpu.halted ? ", halted" : ""}`);
  return lines;
}

function row(pairs: readonly (readonly [string, bigint])[]): string {
  return pairs.map(([name, value]) => `${name.padEnd(3)} ${hex(value)}`).join("  ");
}

function segment(name: string, { selector, base, limit, attributes }: SegmentRegister): string {
  const fields = [selector.toString(16).padStart(4, "0"), hex(base), limit.toString(16).padStart(8, "0")];
  return `${name.padEnd(4)} ${fields.join(" ")} attributes ${attributes.toString(16).padStart(5, "0")}`;
}

function hex(value: bigint): string {
  return BigInt.asUintN(64, value).toString(16).padStart(16, "0");
}

/** The ring that the guest's code runs in. Real mode has none and counts as 0. */
export function privilegeLevel(vcpu: VcpuState): number {
  return (vcpu.cr0 & 1n) === 0n ? 0 : vcpu.cs.selector & 3;
}
