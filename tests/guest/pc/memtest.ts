// memtest86+, the 32-bit form, started without its pause; its screen.

import { I8042, startKeyboard } from "../../../packages/core/src/devices/i8042/controller.ts";
import { startTextMode } from "../../../packages/core/src/devices/vga/text-mode.ts";
import type { ClockMode } from "../../../packages/core/src/machine/spec.ts";
import type { DebianFile } from "./debian-files.ts";
import { startLinux32 } from "./linux-boot32.ts";
import { createPc, type Pc } from "./pc.ts";

export const MEMTEST: DebianFile = { packageName: "memtest86+", path: "boot/memtest86+ia32.bin" };

/** With `vga` it finds a display in text mode, as a BIOS leaves it; else plain RAM in its place. */
export function startMemtest(file: Uint8Array, clock: ClockMode, vga?: true): Pc {
  const pc = createPc({ memoryMib: 16, clock, ...(vga ? { vga } : {}) });
  if (pc.vga) startTextMode(pc.vga);
  const keyboard = pc.machine.board.devices.find((device) => device instanceof I8042);
  if (keyboard) startKeyboard(keyboard);
  startLinux32(pc, file, "nopause");
  return pc;
}

/** Completed passes and errors as the screen shows them; null before it does. */
export function memtestScreen(pc: Pc): { passes: number; errors: number; test: number } | null {
  const text = pc.screen().join("\n");
  const found = /Pass:\s+(\d+)\s+Errors:\s+(\d+)/.exec(text);
  const test = /Test #\s*(\d+)/.exec(text);
  if (!found || !test) return null;
  return { passes: Number(found[1]), errors: Number(found[2]), test: Number(test[1]) };
}
