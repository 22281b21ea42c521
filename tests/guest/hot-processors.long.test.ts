// The same with virtual processors in parallel, many times over, under load, and through a reboot.

import { expect, it } from "vitest";
import { createVm, type Vm } from "../../packages/host/src/index.ts";
import { tinyGuest } from "./tiny-guest.ts";

async function sh(vm: Vm, line: string): Promise<string> {
  const { stdout, stderr, exitCode } = await vm.exec(["sh", "-c", line]);
  if (exitCode !== 0) throw new Error(`${line}: ${Buffer.from(stderr).toString()}`);
  return Buffer.from(stdout).toString().trim();
}

async function online(vm: Vm, wanted: string): Promise<string> {
  const file = "/sys/devices/system/cpu/online";
  return await sh(
    vm,
    `for i in $(seq 200); do [ "$(cat ${file})" = ${wanted} ] && break; sleep 0.1; done; cat ${file}`,
  );
}

const NAMES = ["", "0", "0-1", "0-2", "0-3"];

it.each(["turns", "parallel"] as const)(
  "%s: processors come and go under load, and stay through a reboot",
  {
    timeout: 900_000,
  },
  async (smp) => {
    const guest = await tinyGuest();
    if ("missing" in guest) throw new Error(guest.missing);
    await using vm = await createVm({
      ...{ memoryBytes: 192 * 2 ** 20, cpus: 2, maxCpus: 4, smp, append: "twinmetal.shell=off" },
    });
    await vm.start();
    await sh(vm, "for i in 1 2 3; do (while :; do :; done) >/dev/null 2>&1 & done");
    for (const count of [4, 1, 3, 2, 4, 3, 1, 2, 4, 1, 3]) {
      expect(await vm.cpus.set(count)).toBe(count);
      expect(await online(vm, NAMES[count]!)).toBe(NAMES[count]);
    }
    await vm.reset();
    // A call that begins before the old agent is gone is lost with it.
    const again = await online(vm, "0-2").catch((error) => {
      if (error.code !== "AGENT_LOST") throw error;
      return online(vm, "0-2");
    });
    expect(again).toBe("0-2");
    expect(await vm.cpus.set(4)).toBe(4);
    expect(await online(vm, "0-3")).toBe("0-3");
  },
);
