/**
 * A user network with a real Linux: its address by DHCP, bytes to and from servers of the host with equal hashes, a forwarded
 * port, and what is not allowed.
 */
import { createHash, randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createVm, type Vm, VmError } from "../../packages/host/src/index.ts";
import { keptTranslations } from "../kept-translations.ts";
import { tinyGuest } from "./tiny-guest.ts";

const guest = await tinyGuest();
const DATA = randomBytes(3 << 20);
const HASH = createHash("sha256").update(DATA).digest("hex");

let folder: string;
let server: Server;
let port: number;
let uploaded = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "twinmetal-user-network-"));
  server = createServer((request, response) => {
    if (request.method !== "POST") {
      response.end(DATA);
      return;
    }
    const hash = createHash("sha256");
    request.on("data", (bytes) => hash.update(bytes));
    request.on("end", () => {
      uploaded = hash.digest("hex");
      response.end("thanks");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true });
});

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port: free } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return free;
}

async function run(vm: Vm, script: string): Promise<[status: number | undefined, out: string]> {
  const { exitCode, stdout, stderr } = await vm.exec(["sh", "-c", script]);
  const decoder = new TextDecoder();
  return [exitCode, (decoder.decode(stdout) + decoder.decode(stderr)).trim()];
}

describe.skipIf("missing" in guest)("a user network", { timeout: 240_000 }, () => {
  it("gives an address, names and what is allowed of this host; ports lead to the guest", async () => {
    const forwarded = await freePort();
    const vm = await createVm({
      memoryBytes: 128 << 20,
      engine: "jit",
      ...keptTranslations(),
      networks: [
        {
          to: "user",
          allow: [`host:${port}`],
          forwards: [{ hostPort: forwarded, guestPort: 80 }],
          log: join(folder, "log"),
          pcap: join(folder, "pcap"),
        },
      ],
    });
    try {
      await vm.start();
      expect(await run(vm, "ip -4 -o addr show eth0 | grep -o '10.0.2.15/24'; cat /etc/resolv.conf")).toEqual([
        0,
        "10.0.2.15/24\nnameserver 10.0.2.3",
      ]);
      const url = `http://host.twinmetal.internal:${port}/`;
      expect(await run(vm, `wget -q -O /tmp/data ${url} && sha256sum </tmp/data`)).toEqual([0, `${HASH}  -`]);
      const head = `printf 'POST / HTTP/1.0\\r\\nContent-Length: ${DATA.length}\\r\\n\\r\\n'`;
      expect((await run(vm, `(${head}; cat /tmp/data) | nc 10.0.2.2 ${port}`))[1]).toContain("thanks");
      expect(uploaded).toBe(HASH);
      expect((await run(vm, "mkdir /www && mv /tmp/data /www/data && httpd -h /www"))[0]).toBe(0);
      const answer = Buffer.from(await (await fetch(`http://127.0.0.1:${forwarded}/data`)).arrayBuffer());
      expect(createHash("sha256").update(answer).digest("hex")).toBe(HASH);
      const fetched = await vm.fetch("http://guest/data");
      expect([fetched.status, fetched.headers.get("content-length")]).toEqual([200, String(DATA.length)]);
      expect(
        createHash("sha256")
          .update(Buffer.from(await fetched.arrayBuffer()))
          .digest("hex"),
      ).toBe(HASH);
      expect((await vm.fetch("http://guest/none")).status).toBe(404);
      await expect(vm.fetch("http://guest:81/")).rejects.toMatchObject({ code: "refused" });
      await expect(vm.fetch("https://guest/")).rejects.toMatchObject({ code: "bad-option" });
      for (const refused of [`10.0.2.2:${port + 1}`, "169.254.169.254", "192.168.1.1", "1.1.1.1"]) {
        const [status, out] = await run(vm, `wget -q -O - http://${refused}/`);
        expect([status, out], refused).toEqual([1, expect.stringMatching(/No route to host|Connection refused/)]);
      }
      expect((await run(vm, "nslookup example.org"))[1]).toContain("REFUSED");
      expect((await run(vm, "ping -c 1 -W 5 10.0.2.2"))[0]).toBe(0);
      await vm.network.limit(0, {
        toGuest: { latencyMs: 150 },
        fromGuest: { latencyMs: 150, bytesPerSecond: 1 << 20 },
      });
      const [, echoed] = await run(vm, "ping -c 2 -W 9 10.0.2.2");
      expect(Number(/min\/avg\/max = ([\d.]+)/.exec(echoed)?.[1]), echoed).toBeGreaterThanOrEqual(299);
      const startMs = performance.now();
      const slow = await (await vm.fetch("http://guest/data", { headers: { range: "bytes=0-2097151" } })).arrayBuffer();
      expect([slow.byteLength, performance.now() - startMs > 1800]).toEqual([2 << 20, true]);
      await vm.network.limit(0, {});
      const lines = (await readFile(join(folder, "log"), "utf8")).trimEnd().split("\n");
      const tried = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(tried[0]).toMatchObject({
        protocol: "tcp",
        address: "10.0.2.2",
        port,
        allowed: true,
        why: `host:${port}`,
      });
      expect(tried.find(({ address }) => address === "169.254.169.254")).toMatchObject({ allowed: false });
      expect(tried.find(({ protocol }) => protocol === "dns")).toMatchObject({ name: "example.org", allowed: false });
      const frames = await readFile(join(folder, "pcap"));
      expect([frames.readUInt32LE(0), frames.length > 2 * DATA.length]).toEqual([0xa1b23c4d, true]);
    } finally {
      await vm.close();
    }
  });

  it("says which port of the host it cannot have, and that there is none", async () => {
    const forwards = [{ hostPort: port, guestPort: 80 }];
    const taken = createSocket("udp4").bind(port, "127.0.0.1");
    await once(taken, "listening");
    const both = [{ protocol: "udp" as const, hostPort: port, guestPort: 53 }];
    await expect(
      createVm({ memoryBytes: 64 << 20, engine: "jit", networks: [{ to: "user", forwards: both }] }),
    ).rejects.toThrow(`UDP port ${port} of 127.0.0.1 cannot lead to the guest's port 53: somebody else uses it`);
    taken.close();
    const failed = createVm({ memoryBytes: 64 << 20, engine: "jit", networks: [{ to: "user", forwards }] });
    await expect(failed).rejects.toThrow(`Port ${port} of 127.0.0.1 cannot lead to the guest's port 80`);
    await expect(failed).rejects.toBeInstanceOf(VmError);
    const vm = await createVm({ memoryBytes: 128 << 20, engine: "jit", networks: [{ to: "loopback" }] });
    await expect(vm.fetch("http://guest/")).rejects.toMatchObject({ code: "no-network" });
    await vm.close();
  });
});
