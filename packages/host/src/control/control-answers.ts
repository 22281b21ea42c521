/** What requests are answered with, where that is more than what the VM object says. */
import type { BalloonStatistics } from "@twinmetal/core";
import type { DiscInDrive } from "../disk/disk-limits.ts";
import type { LifecycleState } from "../lifecycle/states.ts";
import type { Vm, VmProgress } from "../vm/vm.ts";
import { whyNothingIsGivenBack } from "../vm/vm-memory.ts";

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
