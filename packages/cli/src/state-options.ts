/**
 * A saved state's machine in the words of `twinmetal run`: what a policy looks at, and what a VM that stays has in its spec for
 * when it starts anew. Where its disks, cards and folders lead is no part of a state.
 */
import { isCardInBay, isInBay } from "@twinmetal/core";
import { UsageError } from "./usage-error.ts";
import type { MachineSpec, OptionText, VmPromise } from "./vm-library.ts";

const MIB = 2 ** 20;
/** What is on every kernel's command line that starts from Twinmetal, or comes with other options. */
const OWN_WORD = /^(?:console=ttyS0|quiet|twinmetal\.(?:net|share|term|shell|hostname)=.*)$/;

export interface StateFiles {
  readonly kernel?: string | undefined;
  readonly firmware?: string | undefined;
  readonly vsockPath?: string | undefined;
}

export function stateOptions(spec: MachineSpec, { firmware, vsockPath }: StateFiles): Record<string, OptionText> {
  const { memoryBytes, cpus, cpusAtStart, cpuFeatures, clock, vga } = spec;
  const found: Record<string, OptionText> = {
    memory: sizeText(memoryBytes),
    cpus: cpusAtStart === undefined ? String(cpus) : `${cpusAtStart},max=${cpus}`,
  };
  for (const device of spec.devices) {
    if (device.kind === "virtio-mem")
      found["memory"] = `${sizeText(memoryBytes)},max=${sizeText(memoryBytes + device.sizeBytes)}`;
    else if (device.kind === "virtio-balloon") found["balloon"] = true;
    else if (device.kind === "virtio-vsock")
      found["vsock"] = `${device.guestCid}${vsockPath === undefined ? "" : `,uds=${vsockPath}`}`;
    else if (device.kind === "watchdog") found["watchdog"] = device.action;
  }
  const bays = spec.devices.filter(isInBay).length;
  if (bays > 0) found["disk-bays"] = String(bays);
  const cardBays = spec.devices.filter(isCardInBay).length;
  if (cardBays > 0) found["net-bays"] = String(cardBays);
  if (cpuFeatures.length > 0) {
    const changes = cpuFeatures.map((feature) => (feature.startsWith("-") ? feature : `+${feature}`));
    found["cpu"] = ["portable-v1", ...changes].join(",");
  }
  if (clock === "virtual") found["clock"] = clock;
  if (spec.firmware) {
    // UEFI keeps its settings in flash.
    found["firmware"] = firmware ?? (spec.variables ? "uefi" : "bios");
    found["vga"] = vga ? "std" : "none";
  } else if (vga) found["vga"] = "std";
  const own = (spec.boot?.commandLine ?? "").split(/\s+/).filter((word) => word !== "" && !OWN_WORD.test(word));
  if (own.length > 0) found["append"] = own.join(" ");
  return found;
}

/** What the host promises a VM of that state. */
export function promiseOfState({ memoryBytes, cpus, devices }: MachineSpec): VmPromise {
  const hotBytes = devices.reduce((sum, it) => sum + (it.kind === "virtio-mem" ? it.sizeBytes : 0), 0);
  return { memoryBytes: memoryBytes + hotBytes, cpus };
}

/** Throws UsageError where a VM of that state could not start anew. `tinyKernel`: the SHA-256 of the tiny image's, if that is here. */
export function checkStartsAnew({ boot }: MachineSpec, { kernel }: StateFiles, tinyKernel: string | undefined): void {
  if (boot === undefined) return;
  if (boot.modules) throw new UsageError("a VM with --module cannot stay: let it go on here, without -d.");
  if (kernel === undefined && boot.kernel.sha256 !== tinyKernel)
    throw new UsageError(
      "a VM that stays starts anew one day: give the kernel that this one was started from, --kernel FILE, and its --initrd.",
    );
}

function sizeText(bytes: number): string {
  return bytes % MIB === 0 ? `${bytes / MIB}M` : String(bytes);
}
