// Linux as far as its first program, which turns the machine off: a whole boot, for the long suites.

import { readFile } from "node:fs/promises";
import { tinyGuest } from "../guest/tiny-guest.ts";
import type { BootFiles } from "./tier-machine.ts";

const MEMORY_BYTES = 96 << 20;
const COMMAND_LINE = "console=ttyS0 quiet rdinit=/bin/busybox -- poweroff -f";

/** The reason where it cannot be had. */
export async function linuxFiles(): Promise<BootFiles | { readonly missing: string }> {
  const guest = await tinyGuest();
  if ("missing" in guest) return guest;
  const [kernel, initrd] = await Promise.all([readFile(guest.image.kernelPath), readFile(guest.image.initrdPath)]);
  return { kernel, initrd, commandLine: COMMAND_LINE, memoryBytes: MEMORY_BYTES };
}
