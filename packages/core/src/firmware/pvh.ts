/**
 * Kernels by the PVH boot protocol (Xen's docs/misc/pvh and public/arch-x86/hvm/start_info.h), which an uncompressed Linux
 * (vmlinux), Xen and others have: an ELF file whose note names a 32-bit entry point, and a start-info structure in EBX.
 */
import { concat, littleEndian } from "./acpi/aml.ts";
import { e820Map } from "./e820.ts";
import type { Elf } from "./elf.ts";
import type { KernelBootOptions, KernelPlan } from "./kernel-boot.ts";
import { KERNEL_LAYOUT, placeModules, planLoading, textBytes } from "./kernel-loading.ts";
import { entryState32, entryTables } from "./linux-entry.ts";

const NOTE = { NAME: "Xen", PHYS32_ENTRY: 18 } as const;
const START_INFO_MAGIC = 0x336e_c578;
/** The first one with a memory map. */
const START_INFO_VERSION = 1;
const GPR = { RBX: 3, RSI: 6 } as const;

/** The entry point, if the file has one. */
export function pvhEntry({ notes }: Elf): number | undefined {
  const note = notes.find(({ name, type }) => name === NOTE.NAME && type === NOTE.PHYS32_ENTRY);
  if (!note || note.body.length < 4) return undefined;
  return new DataView(note.body.buffer, note.body.byteOffset).getUint32(0, true);
}

/** Throws LinuxBootError. */
export function planPvh(elf: Elf, entry: number, options: KernelBootOptions): KernelPlan {
  const parts = elf.segments.map(({ physical, fileStart, fileBytes, memoryBytes }) => ({
    gpa: physical,
    file: options.kernel,
    start: fileStart,
    length: fileBytes,
    memoryBytes,
  }));
  const loading = planLoading(parts, options.ram);
  const modules = placeModules(options.modules, loading.end, options.ram);
  const map = e820Map(options.ram);
  const info = concat(
    littleEndian(START_INFO_MAGIC, 4),
    littleEndian(START_INFO_VERSION, 4),
    littleEndian(0, 4),
    littleEndian(modules.length, 4),
    littleEndian(modules.length === 0 ? 0 : KERNEL_LAYOUT.modules, 8),
    littleEndian(KERNEL_LAYOUT.commandLine, 8),
    littleEndian(options.acpi?.rsdp ?? 0, 8),
    littleEndian(KERNEL_LAYOUT.memoryMap, 8),
    littleEndian(map.length, 4),
    littleEndian(0, 4),
  );
  const state = entryState32(entry);
  state.gpr[GPR.RBX] = BigInt(KERNEL_LAYOUT.info);
  state.gpr[GPR.RSI] = 0n;
  return {
    writes: [
      ...entryTables(),
      { gpa: KERNEL_LAYOUT.info, bytes: info },
      { gpa: KERNEL_LAYOUT.commandLine, bytes: textBytes(options.commandLine) },
      {
        gpa: KERNEL_LAYOUT.memoryMap,
        bytes: concat(
          ...map.map(({ start, sizeBytes, type }) =>
            concat(littleEndian(start, 8), littleEndian(sizeBytes, 8), littleEndian(type, 4), littleEndian(0, 4)),
          ),
        ),
      },
      {
        gpa: KERNEL_LAYOUT.modules,
        bytes: concat(
          ...modules.map(({ start, end, textAt }) =>
            concat(...[start, end - start, textAt, 0].map((value) => littleEndian(value, 8))),
          ),
        ),
      },
      ...modules.map(({ textAt, text }) => ({ gpa: textAt, bytes: text })),
      ...(options.acpi?.writes ?? []),
    ],
    copies: [...loading.copies, ...modules.map(({ copy }) => copy)],
    zeroes: loading.zeroes,
    state,
  };
}
