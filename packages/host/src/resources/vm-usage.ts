/** What a VM uses of its host at a moment: counters, from two of which come rates (why-slow.ts). */
import { readFileSync } from "node:fs";
import type { DiskLimits, DiskUsage } from "../disk/disk-protocol.ts";
import type { CardLimits, CardUsage } from "../network/network-protocol.ts";
import type { VmState } from "../vm/vm.ts";
import type { VmLimits } from "./vm-limits.ts";

export interface VmUsage {
  /** When, in milliseconds of the host's monotonic clock. */
  readonly atMs: number;
  readonly state: VmState;
  readonly engine: "jit" | "kvm";
  readonly cpus: number;
  /** The most that it may be given while it runs. */
  readonly maxCpus: number;
  readonly cpu: CpuUsage;
  readonly memory: MemoryUsage;
  readonly disks: readonly (DiskUsage & { readonly limits: DiskLimits })[];
  readonly networks: readonly (CardUsage & { readonly limits: CardLimits })[];
  /** Of the serial port and the consoles. */
  readonly outputBytes: number;
  readonly limits: VmLimits;
}

/** Of the vCPUs' threads, since the VM's start, in milliseconds. */
export interface CpuUsage {
  readonly cpuMs: number;
  /** Ready to run, while the host had no processor for them. 0 where the host does not tell. */
  readonly waitedMs: number;
  /** Resting because of the VM's own limits. */
  readonly throttledMs: number;
  /** The guest waiting for something to do. */
  readonly idleMs: number;
  /** Of the guest's code, by the interpreter: what was not translated yet. Undefined on kvm. */
  readonly interpretedMs?: number;
}

export interface MemoryUsage {
  /** What the guest was told that it has, with what was plugged while it ran. */
  readonly promisedBytes: number;
  /** The most that it may be given while it runs. */
  readonly maxBytes: number;
  /** What the guest does without, by its balloon. */
  readonly balloonBytes: number;
  /** The balloon follows what host and guest need. */
  readonly isBalloonAutomatic: boolean;
  /** Of the VM's process: in the host's memory, this program and translated code included. */
  readonly residentBytes: number;
  /** Of that: also in use by other processes, such as the program itself. */
  readonly sharedBytes: number;
}

/** Linux's account of this process; elsewhere what Node knows. */
export function processMemory(): Pick<MemoryUsage, "residentBytes" | "sharedBytes"> {
  try {
    const text = readFileSync("/proc/self/smaps_rollup", "utf8");
    const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) * 1024;
    return { residentBytes: of("Rss"), sharedBytes: of("Rss") - of("Private_Clean") - of("Private_Dirty") };
  } catch {
    return { residentBytes: process.memoryUsage.rss(), sharedBytes: 0 };
  }
}
