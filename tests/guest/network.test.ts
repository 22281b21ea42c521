/**
 * Network cards of a real Linux: two machines at one wire, with equal hashes at both ends, through a saved state, several at a
 * switch, and again from a recording, which needs no network.
 */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import {
  createVm,
  type NetworkOptions,
  replayVm,
  restoreVm,
  type Vm,
  type VmOptions,
} from "../../packages/host/src/index.ts";
import { keptTranslations } from "../kept-translations.ts";
import { address, shell } from "./shell.ts";
import { tinyGuest } from "./tiny-guest.ts";

const guest = await tinyGuest();
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "twinmetal-network-"));
  vi.stubEnv("XDG_RUNTIME_DIR", folder);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

async function start(network: NetworkOptions, options: VmOptions = {}): Promise<Vm> {
  const vm = await createVm({
    memoryBytes: 128 * 2 ** 20,
    networks: [network],
    engine: "jit",
    ...keptTranslations(),
    ...options,
  });
  await vm.start();
  return vm;
}

describe.skipIf("missing" in guest)("virtio-net", { timeout: 240_000 }, () => {
  it("joins two machines, which reach each other and move data", async () => {
    const wire: NetworkOptions = { to: "socket", path: join(folder, "wire") };
    const a = await start(wire, { name: "a" });
    const b = await start(wire, { name: "b" });
    try {
      await shell(a, address(1));
      await shell(b, address(2));
      expect(await shell(b, "ping -c 3 -i 0.2 10.1.1.1")).toContain("3 packets received, 0% packet loss");
      const made = await shell(
        a,
        "mkdir /tmp/www; head -c 4000000 /dev/urandom >/tmp/www/data; httpd -h /tmp/www; sha256sum </tmp/www/data",
      );
      expect(await shell(b, "wget -q -O - http://10.1.1.1/data | sha256sum")).toBe(made);
      // The address follows from the name.
      const macs = [
        await shell(a, "cat /sys/class/net/eth0/address"),
        await shell(b, "cat /sys/class/net/eth0/address"),
      ];
      expect(macs[0]).toMatch(/^02:/);
      expect(macs[1]).not.toBe(macs[0]);

      // One is saved in the middle of it, and goes on elsewhere; the other one sees its cable out, and in again.
      const saved = join(folder, "b.vm");
      await b.pause();
      await b.save(saved);
      await b.close();
      await expect.poll(() => shell(a, "cat /sys/class/net/eth0/carrier"), { timeout: 20_000 }).toBe("0");
      const again = await restoreVm(saved, { networks: [wire], engine: "jit" });
      try {
        await again.start();
        await expect.poll(() => shell(a, "cat /sys/class/net/eth0/carrier"), { timeout: 20_000 }).toBe("1");
        expect(await shell(again, "wget -q -O - http://10.1.1.1/data | sha256sum")).toBe(made);
      } finally {
        await again.close();
      }
    } finally {
      await a.close();
      await b.close();
    }
  });

  it("is joined by a switch to the others there and to nothing else; a second card leads elsewhere", async () => {
    const server = createServer((_request, response) => void response.end("outside")).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const lab: NetworkOptions = { to: "switch", name: "lab" };
    const both: VmOptions = { name: "a", networks: [lab, { to: "user", allow: [`host:${port}`] }] };
    const [a, b] = await Promise.all([start(lab, both), start(lab, { name: "b" })]);
    try {
      await Promise.all([shell(a, address(1)), shell(b, address(2))]);
      expect(await shell(b, "ping -c 2 -i 0.2 10.1.1.1")).toContain("2 packets received, 0% packet loss");
      const made = await shell(
        a,
        "mkdir /tmp/www; head -c 1000000 /dev/urandom >/tmp/www/data; httpd -h /tmp/www; sha256sum </tmp/www/data",
      );
      expect(await shell(b, "wget -q -O - http://10.1.1.1/data | sha256sum")).toBe(made);
      // One card has the host behind it, and no switch leads there.
      expect(await shell(a, `wget -q -O - http://10.0.2.2:${port}`)).toBe("outside");
      await shell(b, "ip route add default via 10.1.1.9");
      expect(await shell(b, `wget -q -T 1 -O - http://10.0.2.2:${port} 2>&1 || echo no`)).toMatch(/no$/);
    } finally {
      await Promise.all([a.close(), b.close()]);
      server.close();
    }
  });

  it("repeats a recorded run without a network", async () => {
    const record = join(folder, "run.rec");
    const vm = await start({ to: "loopback" }, { record, seed: "0a", epochSeconds: 1_700_000_000 });
    let counted: string;
    try {
      await shell(vm, address(1));
      await shell(vm, "ping -c 2 -W 1 10.1.1.9 || true");
      counted = await shell(vm, "cd /sys/class/net/eth0/statistics; cat rx_packets tx_packets");
    } finally {
      await vm.kill();
      await vm.close();
    }
    const [received, sent] = counted.split("\n").map(Number);
    expect(sent).toBeGreaterThan(1);
    expect(received).toBeGreaterThan(1);
    const { retired } = await replayVm(record);
    expect(retired).toBeGreaterThan(10_000_000);
  });
});
