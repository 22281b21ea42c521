// A process that awaits a VM's end at its top level lives until then: Node ends one with status 13 in which nothing is left that
// keeps it going.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { bareKernel, GUESTS } from "./bare-kernel.ts";

const built = new URL("../../packages/host/dist/index.js", import.meta.url).href;

it("answers that come while a VM is closed do not end the process before", { timeout: 60_000 }, () => {
  const directory = mkdtempSync(join(tmpdir(), "twinmetal-end-"));
  const kernel = join(directory, "kernel");
  writeFileSync(kernel, bareKernel(GUESTS.spinning));
  const script = `
    import { createVm } from ${JSON.stringify(built)};
    for (let i = 0; i < 3; i++) {
      const vm = await createVm({ engine: "jit", tier: "interp", kernel: ${JSON.stringify(kernel)}, memoryBytes: 16 << 20 });
      vm.on("exit", () => { for (let asked = 0; asked < 3; asked++) void vm.stats().catch(() => {}); });
      await vm.start();
      await vm.close();
    }
    console.log("closed");`;
  try {
    const { status, stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
    expect([status, stdout]).toEqual([0, "closed\n"]);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
