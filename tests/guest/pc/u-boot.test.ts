// U-Boot as firmware, from the reset vector to its prompt on the serial port: 16-bit, 32-bit and, in one of the two, 64-bit
// code from ROM and RAM, PCI, timers.

import { expect, test } from "vitest";
import { SERIAL_CHANNEL } from "../../../packages/core/src/index.ts";
import { debianFile } from "./debian-files.ts";
import { createPc } from "./pc.ts";

const PROMPT = "=> ";

for (const board of ["qemu-x86", "qemu-x86_64"]) {
  const rom = await debianFile({ packageName: "u-boot-qemu", path: `usr/lib/u-boot/${board}/u-boot.rom` });
  if (typeof rom === "string") console.warn(`U-Boot skipped: ${rom}`);

  test.skipIf(typeof rom === "string")(
    `U-Boot for ${board} comes to its prompt and answers`,
    { timeout: 120_000 },
    () => {
      const pc = createPc({ memoryMib: 256, clock: "wall", firmware: rom as Uint8Array });
      pc.start();
      const answers = (text: string): boolean => pc.runUntil(() => pc.serial().includes(text), 50);
      const type = (text: string): void => pc.machine.input(SERIAL_CHANNEL, new TextEncoder().encode(text));
      expect(answers("Hit any key"), pc.serial()).toBe(true);
      type(" ");
      expect(answers(PROMPT), pc.serial()).toBe(true);
      type("setenv a 42; echo the answer: $a\r");
      expect(answers("the answer: 42"), pc.serial()).toBe(true);
    },
  );
}
