// Debian's cloud kernel and its general kernel, with little, usual and the most memory: each boots to the shell, runs
// programs, reboots, and powers off.

import { describe, expect, it } from "vitest";
import { createVm, ensureTinyImage, ImageError, type TinyImage } from "../../packages/host/src/index.ts";

const MIB = 2 ** 20;
const BOOT_TIMEOUT_MS = 180_000;

async function image(kernel: "cloud" | "general"): Promise<TinyImage | string> {
  try {
    return await ensureTinyImage({ kernel, signal: AbortSignal.timeout(240_000) });
  } catch (error) {
    if (error instanceof ImageError || (error as Error).name === "TimeoutError") return (error as Error).message;
    throw error;
  }
}

describe.each(["cloud", "general"] as const)("the %s kernel", (kernel) => {
  it.each([96, 512, 3072])("with %i MiB", { timeout: 4 * BOOT_TIMEOUT_MS }, async (mib) => {
    const found = await image(kernel);
    if (typeof found === "string") throw new Error(`no image: ${found}`);
    await using vm = await createVm({ kernel: found.kernelPath, initrd: found.initrdPath, memoryBytes: mib * MIB });
    await vm.start();
    await vm.serial.waitFor("# ", { timeoutMs: BOOT_TIMEOUT_MS });
    await vm.agent.connect({ timeoutMs: BOOT_TIMEOUT_MS });
    const run = async (...command: string[]): Promise<string> => (await vm.exec(command)).stdout.toString().trim();
    expect(await run("uname", "-r")).toBe(found.kernelRelease);
    const totalKib = Number(/MemTotal:\s+(\d+)/.exec(await run("cat", "/proc/meminfo"))?.[1]);
    expect(totalKib / 1024).toBeGreaterThan(mib * 0.5);
    expect(await run("sh", "-c", "seq 1 100000 | sha256sum | cut -c1-16")).toBe("b2bc7d3f8b652d2e");
    vm.serial.write("reboot\n");
    await vm.serial.waitFor("Linux version", { timeoutMs: BOOT_TIMEOUT_MS });
    await vm.serial.waitFor("# ", { timeoutMs: BOOT_TIMEOUT_MS });
    vm.serial.write("poweroff\n");
    expect(await vm.wait()).toMatchObject({ kind: "off" });
  });
});
