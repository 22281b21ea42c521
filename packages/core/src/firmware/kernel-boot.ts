/**
 * A boot without firmware, by what the kernel's file is: a Linux bzImage (linux-boot.ts), a Multiboot kernel (multiboot.ts),
 * or an ELF file with a PVH entry (pvh.ts). A file that is several of these starts by the first; one with a Multiboot header
 * and a PVH note, as Xen is, by Multiboot.
 */
import type { VcpuState } from "../cpu/state.ts";
import type { Gpa } from "../memory/guest-memory.ts";
import type { BootFile } from "./boot-file.ts";
import type { RamSize } from "./e820.ts";
import { isElf, parseElf } from "./elf.ts";
import type { GuestWrite } from "./guest-write.ts";
import { type GuestCopy, planLinuxBoot } from "./linux-boot.ts";
import { LinuxBootError } from "./linux-boot-error.ts";
import { findMultibootHeader, planMultiboot } from "./multiboot.ts";
import { planPvh, pvhEntry } from "./pvh.ts";

export interface BootModule {
  readonly file: BootFile;
  readonly commandLine: string;
}

/** Of a spec: its modules with their command lines, then the initrd. Missing files are left out. */
export function bootModules(
  { boot }: { readonly boot?: { readonly modules?: readonly { readonly commandLine: string }[] } },
  files: readonly BootFile[],
  initrd: BootFile | undefined,
): BootModule[] {
  const modules = files.map((file, i) => ({ file, commandLine: boot?.modules?.[i]?.commandLine ?? "" }));
  return initrd ? [...modules, { file: initrd, commandLine: "" }] : modules;
}

export interface KernelBootOptions {
  readonly kernel: BootFile;
  /** A bzImage takes one, without a command line: its initrd. */
  readonly modules: readonly BootModule[];
  readonly commandLine: string;
  readonly ram: RamSize;
  readonly acpi?: { readonly writes: readonly GuestWrite[]; readonly rsdp: Gpa };
  /** A VGA is there, in text mode 3. */
  readonly hasVga?: boolean;
}

/** Part of a kernel's file, and the zeros behind it up to `memoryBytes`. */
export interface LoadedPart extends GuestCopy {
  readonly memoryBytes: number;
}

/** In any order, without overlaps. The rest of RAM may hold anything. */
export interface KernelPlan {
  readonly writes: readonly GuestWrite[];
  readonly copies: readonly GuestCopy[];
  readonly zeroes: readonly { readonly gpa: Gpa; readonly length: number }[];
  readonly state: VcpuState;
}

export type KernelKind = "linux" | "multiboot" | "pvh";

/** Of a file that is none of them: "linux", whose rules then say what is wrong with it. */
export function kernelKindOf(kernel: BootFile): KernelKind {
  if (findMultibootHeader(kernel)) return "multiboot";
  return isElf(kernel) ? "pvh" : "linux";
}

/** Throws LinuxBootError. Precondition: `ram` fits the board's map. */
export function planKernelBoot(options: KernelBootOptions): KernelPlan {
  const header = findMultibootHeader(options.kernel);
  if (header) return planMultiboot(header, options);
  if (isElf(options.kernel)) {
    const elf = parseElf(options.kernel);
    const entry = pvhEntry(elf);
    if (entry !== undefined) return planPvh(elf, entry, options);
    throw new LinuxBootError(
      "not-a-bzimage",
      "The kernel is an ELF file without a PVH entry point and without a Multiboot header, so there is no way to start it. Give a bzImage, such as Debian installs as /boot/vmlinuz-VERSION, or build it with CONFIG_PVH.",
    );
  }
  const [initrd, second] = options.modules;
  if (second !== undefined)
    throw new LinuxBootError(
      "initrd-too-large",
      "A Linux bzImage takes one initrd and no modules. Leave the others out.",
    );
  return { ...planLinuxBoot({ ...options, ...(initrd ? { initrd: initrd.file } : {}) }), zeroes: [] };
}
