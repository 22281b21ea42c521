// QEMU's guest agent, as Debian packages it, in a Debian that starts from its own disk: every call, a change of the machine
// and a restore with its port open, and a shutdown.

import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createVm, restoreVm, type Vm } from "../../packages/host/src/index.ts";
import type { HostedVm } from "../../packages/host/src/vm/hosted-vm.ts";
import { makeDebianDisk, whyNoDisk } from "./debian-disk.ts";

const MINUTE_MS = 60_000;
const reason = whyNoDisk();
if (reason !== undefined) console.warn(`QEMU's guest agent in Debian skipped: ${reason}`);

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

async function sh(vm: Vm, script: string): Promise<string> {
  const { exitCode, stdout, stderr } = await vm.exec(["sh", "-c", script], { agentTimeoutMs: 20 * MINUTE_MS });
  return `${exitCode} ${text(stdout)}${text(stderr)}`;
}

test.skipIf(reason !== undefined)(
  "QEMU's guest agent in Debian does all that the interface has",
  { timeout: 40 * MINUTE_MS },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-agent-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const disk = join(folder, "disk.img");
    makeDebianDisk(disk, "bios", folder);
    const disks = [{ path: disk, format: "raw" as const }];
    const state = join(folder, "state");
    const startMs = performance.now();
    const note = (what: string): void => console.log(`${what} after ${Math.round(performance.now() - startMs)} ms`);
    {
      await using vm = await createVm({ firmware: "bios", engine: "jit", memoryBytes: 1024 * 2 ** 20, disks });
      await vm.start();
      expect(await sh(vm, "echo out; echo err >&2; exit 3")).toBe("3 out\nerr\n");
      note("the first command");
      expect(await vm.agent.connect()).toMatchObject({ kind: "qemu", version: expect.stringMatching(/^\d+\./) });
      expect(await vm.agent.osInfo()).toMatchObject({ id: "debian", machine: "x86_64" });
      const input = randomBytes(300_000);
      const sorted = await vm.exec(["cat"], { stdin: input, cwd: "/etc", env: { A: "1 2" } });
      expect(Buffer.compare(sorted.stdout, input)).toBe(0);
      expect(
        (await vm.exec(["sh", "-c", 'echo "$A" in $PWD'], { cwd: "/etc", env: { A: "1 2" } })).stdout.toString(),
      ).toBe("1 2 in /etc\n");
      expect((await vm.exec(["no-such-command"])).exitCode).toBe(127);
      expect((await vm.exec(["true"], { cwd: "/no/such" })).exitCode).toBe(126);
      expect((await vm.exec(["sh", "-c", "kill -TERM $$"])).exitCode).toBe(143);
      await expect(vm.exec(["sh", "-c", "sleep 1000; :"], { signal: AbortSignal.timeout(1000) })).rejects.toThrow();
      expect(await sh(vm, "sleep 0.2; ! grep -l sleep /proc/[0-9]*/comm")).toBe("0 ");
      note("commands");

      const bytes = randomBytes(1_000_000);
      await vm.writeFile("/root/a file", bytes, { mode: 0o640 });
      expect(Buffer.compare(await vm.readFile("/root/a file"), bytes)).toBe(0);
      expect(await sh(vm, "stat -c '%a %s' '/root/a file'; ls /root | wc -l")).toBe("0 640 1000000\n1\n");
      await expect(vm.readFile("/no/file")).rejects.toMatchObject({ code: "AGENT_FILE" });
      await expect(vm.writeFile("/no/file", bytes)).rejects.toMatchObject({ code: "AGENT_FILE" });
      note("files");

      expect(await vm.network.addresses()).toContainEqual(
        expect.objectContaining({
          name: "lo",
          addresses: expect.arrayContaining([{ family: "ipv4", address: "127.0.0.1", prefixLength: 8 }]),
        }),
      );
      await vm.setTime(1_500_000_000_000);
      expect((await vm.agent.time()) - 1_500_000_000_000).toBeLessThan(5 * MINUTE_MS);
      await vm.setTime();
      expect(Math.abs((await vm.agent.time()) - Date.now())).toBeLessThan(5 * MINUTE_MS);
      await vm.agent.setHostname("twin2");
      expect(await sh(vm, "hostname")).toBe("0 twin2\n");
      note("network, time and name");

      const running = vm.exec(["sh", "-c", "sleep 3; echo still here"]);
      await (vm as HostedVm).renewMachine("jit");
      expect(text((await running).stdout)).toBe("still here\n");
      expect(await vm.freeze()).toBeGreaterThan(0);
      expect(await vm.agent.isFrozen()).toBe(true);
      await expect(vm.exec(["true"])).rejects.toMatchObject({ code: expect.stringMatching(/^AGENT_/) });
      await vm.pause();
      await vm.save(state);
      await vm.kill();
      note("saved while its file systems were frozen");
    }
    await using copy = await restoreVm(state, { engine: "jit", disks });
    await copy.start();
    expect(await copy.agent.isFrozen()).toBe(true);
    expect(await copy.thaw()).toBeGreaterThan(0);
    expect(await sh(copy, "echo thawed >/root/new; cat /root/new")).toBe("0 thawed\n");
    await copy.shutdown();
    expect((await copy.wait()).kind).toBe("off");
    note("off");
  },
);
