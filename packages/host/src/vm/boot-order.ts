/** From what a user says of the boot order, classes and indices of disks, to the names of devices that the spec has. */
import { BOOT_CLASSES, bootClassOf, type DeviceSpec, isDisk } from "@twinmetal/core";
import type { VmOptions } from "./vm.ts";
import { VmError } from "./vm-error.ts";

const MAX_INDEX = 999;

type Wishes = Pick<VmOptions, "bootOrder" | "disks">;

/** Throws VmError. */
export function checkBootOrder({ bootOrder, disks = [], firmware }: Wishes & Pick<VmOptions, "firmware">): void {
  const given = disks.flatMap(({ bootIndex }) => (bootIndex === undefined ? [] : [bootIndex]));
  if (firmware === undefined && (bootOrder !== undefined || given.length > 0)) {
    throw new VmError("bad-option", "The boot order is firmware's: give the firmware, or leave the order out.");
  }
  for (const [i, word] of (bootOrder ?? []).entries()) {
    if (!BOOT_CLASSES.includes(word))
      throw new VmError(
        "bad-option",
        `Firmware cannot start from ${JSON.stringify(word)}. Possible: ${BOOT_CLASSES.join(", ")}.`,
      );
    if (bootOrder?.indexOf(word) !== i)
      throw new VmError("bad-option", `"${word}" is twice in the boot order: name it once.`);
  }
  for (const [i, index] of given.entries()) {
    if (!Number.isInteger(index) || index < 0 || index > MAX_INDEX)
      throw new VmError(
        "bad-option",
        `A disk's boot index cannot be ${index}. Give a whole number from 0 to ${MAX_INDEX}.`,
      );
    if (given.indexOf(index) !== i)
      throw new VmError("bad-option", `Two disks have the boot index ${index}: give each its own.`);
  }
}

/** The spec's field, if anything was said. `devices`: the spec's, among them those of `disks` in their order. Throws VmError. */
export function bootOrderOf(
  { bootOrder, disks = [] }: Wishes,
  devices: readonly DeviceSpec[],
): { readonly bootOrder?: readonly string[] } {
  const indexed = devices
    .filter(isDisk)
    .map(({ name }, i) => ({ name, index: disks[i]?.bootIndex }))
    .filter((entry): entry is { name: string; index: number } => entry.index !== undefined)
    .sort((a, b) => a.index - b.index)
    .map(({ name }) => name);
  const byClass = (bootOrder ?? []).flatMap((wanted) => {
    const found = devices.filter((device) => bootClassOf(device) === wanted);
    if (found.length === 0)
      throw new VmError(
        "bad-option",
        `The VM has no ${wanted} to start from: give it one, or leave it out of the boot order.`,
      );
    return found.map(({ name }) => name);
  });
  const names = [...new Set([...indexed, ...byClass])];
  return names.length > 0 ? { bootOrder: names } : {};
}
