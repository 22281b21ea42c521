/**
 * Where a machine's RAM is in the guest's address space: what is there at power-on, as firmware tells it, and behind that the
 * region whose blocks a virtio-mem device plugs and unplugs. The region begins at 4 GiB, so that it is aligned for any guest,
 * and RAM at power-on is all below the PCI hole then.
 */
import { MEMORY_MAP } from "./board-map.ts";
import type { MachineSpec } from "./spec.ts";

const MIB = 2 ** 20;
/** Of all that a machine ever has. */
export const MEMORY_LIMITS = { minBytes: 16 * MIB, maxBytes: 3072 * MIB } as const;
/** Linux plugs memory in blocks of this size on x86; a part of one at the end would be nobody's. */
export const HOT_MEMORY_STEP_BYTES: number = 128 * MIB;

type MemoryOfSpec = Pick<MachineSpec, "memoryBytes" | "devices">;

export interface HotMemory {
  /** Guest-physical. */
  readonly start: number;
  readonly sizeBytes: number;
}

/** Undefined: no memory is plugged into this machine while it runs. */
export function hotMemoryOf({ devices }: Pick<MachineSpec, "devices">): HotMemory | undefined {
  for (const device of devices)
    if (device.kind === "virtio-mem") return { start: MEMORY_MAP.highRamStart, sizeBytes: device.sizeBytes };
  return undefined;
}

/** What an engine has to have: all that the guest may ever find. */
export function engineRamOf(spec: MemoryOfSpec): { readonly memoryBytes: number; readonly lowRamBytes: number } {
  const { lowRamBytes } = bootRamOf(spec);
  return { memoryBytes: spec.memoryBytes + (hotMemoryOf(spec)?.sizeBytes ?? 0), lowRamBytes };
}

/** RAM at power-on. */
export function bootRamOf({ memoryBytes }: Pick<MachineSpec, "memoryBytes">): {
  readonly lowRamBytes: number;
  readonly highRamBytes: number;
} {
  const lowRamBytes = Math.min(memoryBytes, MEMORY_MAP.lowRamEnd);
  return { lowRamBytes, highRamBytes: memoryBytes - lowRamBytes };
}

/** Why memory of these sizes cannot be plugged into a machine of this size. */
export function hotMemoryProblem(spec: MemoryOfSpec): string | undefined {
  const devices = spec.devices.filter(({ kind }) => kind === "virtio-mem");
  const hot = hotMemoryOf(spec);
  if (!hot) return undefined;
  if (devices.length > 1) return "A machine has one virtio-mem device at most. Leave the others out.";
  const { sizeBytes } = hot;
  const most = MEMORY_LIMITS.maxBytes / MIB;
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % HOT_MEMORY_STEP_BYTES !== 0)
    return `Memory of ${sizeBytes} bytes cannot be plugged into a machine: the most that it may ever have is what it starts with and a multiple of 128 MiB more.`;
  const { memoryBytes } = spec;
  if (memoryBytes > MEMORY_MAP.lowRamEnd)
    return `A machine that starts with more than ${MEMORY_MAP.lowRamEnd / MIB} MiB of memory cannot get more while it runs. Start it with less.`;
  if (memoryBytes + sizeBytes <= MEMORY_LIMITS.maxBytes) return undefined;
  return `A machine that starts with ${Math.floor(memoryBytes / MIB)} MiB cannot get up to ${Math.floor((memoryBytes + sizeBytes) / MIB)} MiB: ${most} MiB are possible.`;
}
