/** What requests are answered with, where that is more than what the VM object says. */
import type { BalloonStatistics } from "@twinmetal/core";
import type { DiscInDrive } from "../disk/disk-limits.ts";
import type { LifecycleState } from "../lifecycle/states.ts";
import { gprName } from "../vm/crash-report.ts";
import type { Vm, VmProgress } from "../vm/vm.ts";
import { whyNothingIsGivenBack } from "../vm/vm-memory.ts";
import type { VmRegisters } from "../vm/worker-protocol.ts";

/** The answer to "status". */
export interface ControlStatus {
  /** "waiting": there is no VM yet. */
  readonly state: Vm["state"] | "held" | "waiting";
  /** The same in the words of ../lifecycle/states.ts. */
  readonly life: LifecycleState;
  readonly engine?: "jit" | "kvm";
  readonly isMigrating: boolean;
  /** In its drives. */
  readonly discs?: readonly DiscInDrive[];
  /** The process is in its sandbox. */
  readonly isSealed: boolean;
  /** What it is at, while it starts. */
  readonly progress?: VmProgress;
}

/** How much the guest does without, and why the host has nothing of it, if so. */
export interface MemoryAnswer {
  readonly balloonBytes: number;
  readonly isBalloonAutomatic: boolean;
  readonly notGivenBack: string | null;
  readonly statistics?: BalloonStatistics;
}

export function memoryOf({ memory }: Vm): MemoryAnswer {
  const { balloonBytes, isBalloonAutomatic } = memory;
  return { balloonBytes, isBalloonAutomatic, notGivenBack: whyNothingIsGivenBack() ?? null };
}

/** A vCPU: 64-bit registers as "0x..." with 16 digits, by the manual's names. */
export interface RegistersAnswer {
  readonly registers: Readonly<Record<string, string>>;
  readonly cs: number;
  readonly ss: number;
  readonly cpl: number;
  readonly isHalted: boolean;
  /** Instructions since power-on. */
  readonly retired: number;
}

export function registersAnswer({ gpr, rip, rflags, cr0, cr2, cr3, cr4, ...rest }: VmRegisters): RegistersAnswer {
  const general = gpr.map((value, i) => [gprName(i), value] as const);
  const all = Object.entries({ ...Object.fromEntries(general), rip, rflags, cr0, cr2, cr3, cr4 });
  const hex = (value: bigint): string => `0x${value.toString(16).padStart(16, "0")}`;
  return { registers: Object.fromEntries(all.map(([name, value]) => [name, hex(value)])), ...rest };
}

/** What the screen shows. */
export interface ScreenAnswer {
  /** Null in graphics modes. */
  readonly text: readonly string[] | null;
  readonly pngBase64: string;
}

export async function screenOf(vm: Vm): Promise<ScreenAnswer> {
  const png = await vm.screenshot();
  return { text: (await vm.screen.text()) ?? null, pngBase64: Buffer.from(png).toString("base64") };
}
