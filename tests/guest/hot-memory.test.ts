// A guest that is given memory while it runs, and gives it back: through a saved state and a reboot, too.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { createVm, restoreVm, type Vm } from "../../packages/host/src/index.ts";
import { keptTranslations } from "../kept-translations.ts";
import { tinyGuest } from "./tiny-guest.ts";

const MIB = 2 ** 20;

async function sh(vm: Vm, line: string): Promise<string> {
  const { stdout, stderr, exitCode } = await vm.exec(["sh", "-c", line]);
  if (exitCode !== 0) throw new Error(`${line}: ${Buffer.from(stderr).toString()}`);
  return Buffer.from(stdout).toString();
}

const totalMib = async (vm: Vm): Promise<number> =>
  Number(await sh(vm, "free -m | while read -r a b c; do [ $a = Mem: ] && echo $b; done; true"));

it("memory grows and shrinks while a guest runs", { timeout: 240_000 }, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-hot-memory-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const saved = join(folder, "state");
  const small = 128 * MIB;
  const large = small + 256 * MIB;
  {
    await using vm = await createVm({
      memoryBytes: small,
      maxMemoryBytes: large,
      append: "twinmetal.shell=off",
      ...keptTranslations(),
    });
    await vm.start();
    const before = await totalMib(vm);
    await expect(vm.memory.resize(large + 2 * MIB)).rejects.toThrow(/to \d+ MiB, in steps of 2 MiB/);
    expect(await vm.memory.resize(large)).toBe(large);
    expect(await totalMib(vm)).toBe(before + 256);
    // More than there was at first.
    await sh(vm, "mount -t tmpfs -o size=200m none /tmp && dd if=/dev/zero bs=1M count=120 | tr '\\0' x >/tmp/x");
    await vm.save(saved);
  }
  await using vm = await restoreVm(saved);
  await vm.start();
  expect(await sh(vm, "ls -l /tmp/x; tail -c 3 /tmp/x; rm /tmp/x")).toMatch(/ 125829120 .*xxx$/s);
  expect(vm.memory.sizeBytes).toBe(large);
  expect(await vm.memory.resize(small + 128 * MIB)).toBe(small + 128 * MIB);
  expect(await vm.memory.resize(small)).toBe(small);
  expect(await totalMib(vm)).toBeLessThan(small / MIB);
});

it("a VM without room for more says so", async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  await using vm = await createVm({ memoryBytes: 128 * MIB, ...keptTranslations() });
  await expect(vm.memory.resize(256 * MIB)).rejects.toMatchObject({ code: "no-hot-memory" });
});
