/** `--boot cdrom,disk,menu`: what firmware tries first, and whether it waits for a key that opens its menu. */
import { BOOT_CLASSES, type BootClass } from "@twinmetal/core";
import { option } from "./options.ts";
import { UsageError } from "./usage-error.ts";

export interface BootChoice {
  readonly bootOrder?: readonly BootClass[];
  readonly hasBootMenu: boolean;
}

export const BOOT = option(
  "boot",
  "WHAT[,...]",
  "What firmware starts from, in this order: disk, cdrom, net, floppy (default: the disks and discs in their order). With menu it waits a few seconds for a key, Escape with bios, that opens its boot menu. One disk before all others: --disk PATH,bootindex=0.",
  parseBoot,
);

/** Throws UsageError. */
export function parseBoot(text: string): BootChoice {
  const order: BootClass[] = [];
  let hasBootMenu = false;
  for (const word of text.split(",")) {
    const found = BOOT_CLASSES.find((known) => known === word);
    if (word === "menu" || word === "menu=on") hasBootMenu = true;
    else if (word === "menu=off") hasBootMenu = false;
    else if (found === undefined)
      throw new UsageError(`firmware cannot start from "${word}". Possible: ${BOOT_CLASSES.join(", ")}, and menu.`);
    else if (order.includes(found)) throw new UsageError(`"${word}" is twice in --boot: name it once.`);
    else order.push(found);
  }
  return { ...(order.length > 0 ? { bootOrder: order } : {}), hasBootMenu };
}
