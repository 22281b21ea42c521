// The screen and the keyboard of a VM: Linux's console on a VGA, as text and as a picture, and keys that a program in the
// guest reads from it.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createVm, restoreVm, VmError } from "../../packages/host/src/index.ts";
import { keptTranslations } from "../kept-translations.ts";
import { bareKernel, GUESTS } from "./bare-kernel.ts";
import { tinyGuest } from "./tiny-guest.ts";

const guest = await tinyGuest();
if ("missing" in guest) console.warn(`Linux on a screen skipped: ${guest.missing}`);

test.skipIf("missing" in guest)(
  "Linux shows its console on the VGA and reads its keyboard",
  { timeout: 240_000 },
  async () => {
    await using vm = await createVm({ vga: "std", append: "console=tty0 twinmetal.shell=off", ...keptTranslations() });
    await vm.start();
    const rows = await vm.screen.waitFor(/Run \/init as init process/, { timeoutMs: 150_000 });
    expect(rows).toHaveLength(25);
    expect(rows.some((row) => row.includes("Run /init as init process"))).toBe(true);

    const png = Buffer.from(await vm.screenshot());
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([720, 400]);

    const reading = vm.exec(["sh", "-c", "echo ready >/dev/ttyS0; head -n 1 /dev/tty1"]);
    await vm.serial.waitFor("ready", { timeoutMs: 60_000 });
    await vm.type("Hello, World (1+1=2)!\n");
    const { stdout } = await reading;
    expect(new TextDecoder().decode(stdout)).toBe("Hello, World (1+1=2)!\n");
    await vm.screen.waitFor("Hello, World (1+1=2)!", { timeoutMs: 20_000 });
    await expect(vm.type("é")).rejects.toMatchObject({ code: "bad-key" });
  },
);

test.skipIf("missing" in guest)("a VM has no screen unless it is asked for", { timeout: 60_000 }, async () => {
  await using vm = await createVm(keptTranslations());
  await vm.start();
  await expect(vm.screenshot()).rejects.toThrow(VmError);
  await expect(vm.screen.text()).rejects.toMatchObject({ code: "no-screen" });
  await expect(vm.type("a")).rejects.toMatchObject({ code: "no-screen" });
});

test("a saved VM's screen is what it was", { timeout: 60_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "twinmetal-screen-"));
  try {
    const kernel = join(folder, "kernel");
    const state = join(folder, "state");
    await writeFile(kernel, bareKernel(GUESTS.asleep));
    await using vm = await createVm({ kernel, memoryBytes: 16 * 2 ** 20, vga: "std", clock: "virtual" });
    await vm.start();
    await vm.serial.waitFor("asleep");
    await vm.pause();
    const [before, hash] = [await vm.screenshot(), await vm.stateHash()];
    expect(await vm.screen.text()).toEqual(new Array(25).fill(""));
    await vm.save(state);
    await using copy = await restoreVm(state, { kernel });
    expect(await copy.stateHash()).toBe(hash);
    expect(Buffer.compare(await copy.screenshot(), before)).toBe(0);
  } finally {
    await rm(folder, { recursive: true });
  }
});
