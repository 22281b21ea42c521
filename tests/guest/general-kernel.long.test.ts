/** Devices for which the tiny image's own kernel has no driver, with Debian's general kernel: the e1000 card and 9P shares. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createVm,
  ensureTinyImage,
  type NetworkOptions,
  restoreVm,
  type ShareOptions,
  type TinyImage,
  type Vm,
  type VmOptions,
} from "../../packages/host/src/index.ts";
import { address, shell } from "./shell.ts";
import { describeTree, makeTree } from "./trees.ts";

const general = await ensureTinyImage({ kernel: "general", signal: AbortSignal.timeout(120_000) }).catch(
  (error: unknown) => `the general kernel cannot be fetched: ${(error as Error).message}`,
);
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "twinmetal-general-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function start(options: VmOptions): Promise<Vm> {
  const { kernelPath: kernel, initrdPath: initrd } = general as TinyImage;
  const vm = await createVm({ memoryBytes: 128 * 2 ** 20, engine: "jit", kernel, initrd, ...options });
  await vm.start();
  return vm;
}

describe.skipIf(typeof general === "string")("e1000", () => {
  it("joins a machine of the other model, and moves data both ways", async () => {
    const wire: NetworkOptions = { to: "socket", path: join(folder, "mixed") };
    await using a = await start({ networks: [{ ...wire, model: "e1000" }], name: "a" });
    await using b = await start({ networks: [{ ...wire, model: "virtio" }], name: "b" });
    await shell(a, address(1));
    await shell(b, address(2));
    expect(await shell(a, "cat /sys/class/net/eth0/device/device")).toBe("0x100e");
    expect(await shell(b, "ping -c 3 -i 0.2 10.1.1.1")).toContain("3 packets received, 0% packet loss");
    const serve =
      "mkdir /tmp/www; head -c 4000000 /dev/urandom >/tmp/www/data; httpd -h /tmp/www; sha256sum </tmp/www/data";
    for (const [from, to, host] of [
      [a, b, 1],
      [b, a, 2],
    ] as const) {
      const made = await shell(from, serve);
      expect(await shell(to, `wget -q -O - http://10.1.1.${host}/data | sha256sum`)).toBe(made);
    }
    const counters = "cat /sys/class/net/eth0/statistics/rx_errors /sys/class/net/eth0/statistics/tx_errors";
    expect(await shell(a, counters)).toBe("0\n0");
    await (a as unknown as { renewMachine(engine: "jit"): Promise<unknown> }).renewMachine("jit");
    expect(await shell(b, "ping -c 2 -i 0.2 10.1.1.1")).toContain("2 packets received, 0% packet loss");
  });
});

describe.skipIf(typeof general === "string")("a shared folder by 9P2000.L", () => {
  it("is mounted by Debian's general kernel, and is what the host has, both ways", async () => {
    const [there, back] = [join(folder, "there9"), join(folder, "back9")];
    for (const path of [there, back]) mkdirSync(path);
    makeTree(there, 60);
    const many = join(there, "many");
    mkdirSync(many);
    for (let i = 0; i < 50; i++) writeFileSync(join(many, `one of the many files, number ${i}`), `${i}\n`);
    const shares: ShareOptions[] = [
      { path: there, isReadOnly: true, type: "9p" },
      { path: back, type: "9p" },
    ];
    const state = join(folder, "9p.vm");
    let vm = await start({ shares, memoryBytes: 256 * 2 ** 20 });
    try {
      expect(await shell(vm, "grep -c ' 9p ' /proc/mounts")).toBe("2");
      expect(await shell(vm, "cat '/share/there9/many/one of the many files, number 7'")).toBe("7");
      expect(await shell(vm, "ls /share/there9/many | sort -u | wc -l")).toBe("50");
      await shell(vm, "cp -a /share/there9/. /tmp/tree && cp -a /tmp/tree/. /share/back9/");
      expect(describeTree(back)).toBe(describeTree(there));
      const steps = [
        "cd /share/back9; echo one >a; ln a b; mv a c; mkdir d; mv c d/; echo two >>b; cat d/c; ls d",
        "exec 5<d/c; rm d/c b; cat <&5; rmdir d; ! cat d/c 2>/dev/null; ! cat ../secret 2>/dev/null",
        "! mknod x b 8 0 2>/dev/null; ! chown 1000 /share/back9/d0 2>/dev/null; df . | tail -n 1 | wc -w",
      ];
      expect((await shell(vm, steps.join("; "))).split("\n")).toEqual(["one", "two", "c", "one", "two", "6"]);
      expect((await vm.exec(["touch", "/share/there9/x"])).exitCode).not.toBe(0);

      const reader = "until [ -e /tmp/go ]; do sleep 0.1; done; cat <&5 >/share/back9/read-later";
      const from = "/share/there9/many/one of the many files, number 8";
      await shell(vm, `(exec 5<'${from}'; touch /tmp/open; ${reader}) >/dev/null 2>&1 & true`);
      await shell(vm, "until [ -e /tmp/open ]; do sleep 0.1; done");
      await vm.pause();
      await vm.save(state);
      await vm.close();
      vm = await restoreVm(state, { shares });
      await vm.start();
      await shell(vm, "touch /tmp/go; until [ -s /share/back9/read-later ]; do sleep 0.1; done");
    } finally {
      await vm.close();
    }
    expect(readFileSync(join(back, "read-later"), "utf8")).toBe("8\n");
  });
});
