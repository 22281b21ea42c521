/** What is in memory when a machine without firmware is switched on: a kernel with its tables and files. */
import type { VcpuState } from "../cpu/state.ts";
import { buildAcpiTables, GENERATION } from "../firmware/acpi/tables.ts";
import { type BootFile, piecesOf } from "../firmware/boot-file.ts";
import { LOW_MEMORY } from "../firmware/e820.ts";
import { bootModules, planKernelBoot } from "../firmware/kernel-boot.ts";
import { placeSmbios } from "../firmware/smbios.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";
import { isFloppy, isIdeDrive, isSataDrive } from "./disk-spec.ts";
import { bootRamOf, hotMemoryOf } from "./memory-size.ts";
import { diskBaySlots } from "./slot-devices.ts";
import type { MachineSpec } from "./spec.ts";

/** The files that the spec names: their bytes, unless something else is said. */
export interface BootFiles<File extends BootFile = Uint8Array> {
  readonly kernel: File;
  readonly initrd?: File;
  /** In the order of the spec. */
  readonly modules?: readonly File[];
}

const ZERO_PIECE_BYTES = 64 * 1024;

/**
 * A device reaches the first 4 GiB alone: Linux copies what it moves from and to plugged memory, if it knows in time that there
 * may be some. It keeps 64 MiB for that, which small guests had better not lose for nothing.
 */
function hasNarrowDma({ devices }: MachineSpec): boolean {
  return devices.some(
    (device) => device.kind === "e1000" || isIdeDrive(device) || isSataDrive(device) || isFloppy(device),
  );
}

/** What a kernel is told of its machine, beside the spec. */
export interface KernelStart {
  readonly commandLine: string;
  readonly generationId: Uint8Array;
  /** Of those that come and go; default: all are there. */
  readonly isCpuThere?: ((index: number) => boolean) | undefined;
}

/** Puts the kernel, its files and tables into memory; answers the state that it starts in. Throws LinuxBootError. */
export function placeKernel(
  memory: GuestMemory,
  spec: MachineSpec,
  { kernel, initrd, modules = [] }: BootFiles<BootFile>,
  { commandLine, generationId, isCpuThere }: KernelStart,
): VcpuState {
  const hasVga = spec.vga !== undefined;
  const ram = bootRamOf(spec);
  const hotMemory = hasNarrowDma(spec) ? hotMemoryOf(spec) : undefined;
  const acpi = buildAcpiTables({
    cpuCount: spec.cpus,
    isCpuThere,
    diskBays: diskBaySlots(spec),
    hasVga,
    has8042: hasVga,
    hasFloppy: spec.devices.some(isFloppy),
    hotMemory,
    bootRam: ram,
  });
  const generation = { gpa: GENERATION.DIRECT_ADDRESS, bytes: generationId };
  const smbios = placeSmbios({ ...spec, cpuCount: spec.cpus }, LOW_MEMORY.smbiosStart);
  const plan = planKernelBoot({
    kernel,
    modules: bootModules(spec, modules, initrd),
    commandLine,
    ram: { ...ram, lowRamBytes: memory.lowRamBytes },
    acpi: { ...acpi, writes: [...acpi.writes, generation, ...smbios] },
    hasVga,
  });
  const write = (gpa: number, bytes: Uint8Array): void => {
    if (!memory.write(gpa, bytes)) throw new RangeError(`boot data at 0x${gpa.toString(16)} is outside RAM`);
  };
  for (const { gpa, bytes } of plan.writes) write(gpa, bytes);
  const zeros = new Uint8Array(ZERO_PIECE_BYTES);
  for (const { gpa, length } of plan.zeroes)
    for (let at = 0; at < length; at += zeros.length) write(gpa + at, zeros.subarray(0, length - at));
  for (const { gpa, file, start, length } of plan.copies) {
    let at = gpa;
    for (const piece of piecesOf(file, start, length)) {
      write(at, piece);
      at += piece.length;
    }
  }
  return plan.state;
}
