// memtest86+ from its own CD: SeaBIOS, its boot record's emulation-free start, a boot loader that reads the disc, and a text
// screen. The same disc under OVMF is in boot-media.long.test.ts.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createVm } from "../../../packages/host/src/index.ts";
import { debianFile, MEMTEST_DISC } from "./debian-files.ts";

const TIMEOUT_MS = 60_000;
const disc = await debianFile(MEMTEST_DISC);
if (typeof disc === "string") console.warn(`memtest86+'s CD skipped: ${disc}`);

test.skipIf(typeof disc === "string")(
  "SeaBIOS starts memtest86+ from its CD, and it tests memory",
  { timeout: 3 * TIMEOUT_MS },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-disc-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "memtest.iso");
    writeFileSync(path, disc as Uint8Array);
    await using vm = await createVm({
      firmware: "bios",
      engine: "jit",
      memoryBytes: 32 * 2 ** 20,
      disks: [{ path, isCdrom: true }],
    });
    await vm.start();
    await vm.screen.waitFor("to start testing", { timeoutMs: TIMEOUT_MS });
    await vm.press("enter");
    const rows = await vm.screen.waitFor(/Test #\s*[2-9]/, { timeoutMs: TIMEOUT_MS });
    expect(rows.join("\n")).toMatch(/Memtest86\+ v6.*Pass:\s+0\s+Errors:\s+0/s);
  },
);
