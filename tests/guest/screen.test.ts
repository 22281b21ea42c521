// The screen and the keyboard of a VM: Linux's console on a VGA, as text and as a picture, and keys that a program in the
// guest reads from it.

import { expect, test } from "vitest";
import { createVm, VmError } from "../../packages/host/src/index.ts";
import { tinyGuest } from "./tiny-guest.ts";

const guest = await tinyGuest();
if ("missing" in guest) console.warn(`Linux on a screen skipped: ${guest.missing}`);

test.skipIf("missing" in guest)(
  "Linux shows its console on the VGA and reads its keyboard",
  { timeout: 240_000 },
  async () => {
    await using vm = await createVm({ vga: "std", append: "console=tty0 twinmetal.shell=off" });
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
  await using vm = await createVm();
  await vm.start();
  await expect(vm.screenshot()).rejects.toThrow(VmError);
  await expect(vm.screen.text()).rejects.toMatchObject({ code: "no-screen" });
  await expect(vm.type("a")).rejects.toMatchObject({ code: "no-screen" });
});
