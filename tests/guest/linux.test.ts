// Debian's own kernel and the tiny image's user space in a VM: boot, commands, files, save and restore in mid-load,
// reboot, power-off, recording. One boot serves them all; it is saved, and what may break a guest runs in a restored one.

import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AgentError, createVm, replayVm, restoreVm, type Vm, VmError } from "../../packages/host/src/index.ts";
import { keptTranslations } from "../kept-translations.ts";
import { type TinyGuest, tinyGuest } from "./tiny-guest.ts";

const MIB = 2 ** 20;
const BOOT_TIMEOUT_MS = 90_000;

let guest: TinyGuest = { missing: "not looked for" };
let directory = "";
let vm: Vm;

const path = (name: string): string => join(directory, name);
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

beforeAll(async () => {
  guest = await tinyGuest();
  if ("missing" in guest) return;
  directory = await mkdtemp(join(tmpdir(), "twinmetal-linux-"));
  vm = await createVm({ memoryBytes: 128 * MIB, ...keptTranslations() });
  await vm.start();
  await vm.serial.waitFor("Linux version", { timeoutMs: BOOT_TIMEOUT_MS });
  await vm.serial.waitFor("# ", { timeoutMs: BOOT_TIMEOUT_MS });
  await vm.agent.connect({ timeoutMs: BOOT_TIMEOUT_MS });
  await vm.save(path("booted"));
}, 3 * BOOT_TIMEOUT_MS);

afterAll(async () => {
  await vm?.close();
  if (directory) await rm(directory, { recursive: true, force: true });
});

/** A test that needs the guest. */
function guestTest(name: string, body: () => Promise<void>, timeoutMs = 60_000): void {
  it(name, { timeout: timeoutMs }, async ({ skip }) => {
    if ("missing" in guest) skip(guest.missing);
    await body();
  });
}

async function restored<T>(options: Parameters<typeof restoreVm>[1], body: (vm: Vm) => Promise<T>): Promise<T> {
  await using other = await restoreVm(path("booted"), options);
  await other.start();
  return await body(other);
}

describe("commands", () => {
  guestTest("have stdout, stderr and an exit status of their own", async () => {
    const result = await vm.exec(["sh", "-c", 'echo "to $WHERE"; pwd >&2; exit 7'], {
      env: { WHERE: "stdout" },
      cwd: "/etc",
    });
    expect({ ...result, stdout: text(result.stdout), stderr: text(result.stderr) }).toEqual({
      exitCode: 7,
      stdout: "to stdout\n",
      stderr: "/etc\n",
    });
  });

  guestTest("end with 127, 126 and 128 + n as in a shell", async () => {
    const status = async (...command: string[]): Promise<number> => (await vm.exec(command)).exitCode;
    expect(await status("no-such-command")).toBe(127);
    expect(await status("/etc/passwd")).toBe(126);
    expect(await status("sh", "-c", "kill -TERM $$")).toBe(143);
    expect((await vm.exec(["uname", "-r"])).stdout.toString().trim()).toBe(
      "image" in guest ? guest.image.kernelRelease : "",
    );
  });

  guestTest("have a terminal of their own, with a size that changes, keys that interrupt, and a status", async () => {
    const shell = await vm.agent.exec(["sh"], { terminal: { rows: 30, columns: 100, name: "xterm" } });
    let shown = "";
    shell.stdout.on("data", (bytes: Buffer) => {
      shown += bytes.toString("latin1");
    });
    const shows = async (what: string): Promise<void> => {
      while (!shown.includes(what)) await once(shell.stdout, "data");
    };
    shell.stdin?.write("stty size; echo $TERM; tty\n");
    await shows("/dev/pts/");
    expect(shown).toContain("30 100\r\nxterm\r\n");
    shell.resize?.(50, 132);
    shell.stdin?.write("until stty size | grep '50 132'; do usleep 1000; done\n");
    await shows("50 132\r\n");
    shell.stdin?.write(
      "sh -c 'trap \"echo caught; exit 5\" INT; echo rea''dy; while :; do sleep 0.1; done'; echo status:$?\n",
    );
    await shows("ready\r\n");
    shell.stdin?.write("\x03");
    await shows("caught\r\nstatus:5\r\n");
    shell.stdin?.write("exit 7\n");
    expect(await shell.exited).toBe(7);
  });

  guestTest("take a megabyte of anything on stdin and give it back", async () => {
    const bytes = randomBytes(MIB);
    const result = await vm.exec(["cat"], { stdin: bytes });
    expect(result.exitCode).toBe(0);
    expect(Buffer.compare(result.stdout, bytes)).toBe(0);
    expect(result.stderr.length).toBe(0);
  });

  guestTest("see the end of their input", async () => {
    expect(text((await vm.exec(["wc", "-c"], { stdin: "" })).stdout).trim()).toBe("0");
    async function* parts(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("b\n");
      yield Buffer.from("a\n");
    }
    expect(text((await vm.exec(["sort"], { stdin: parts() })).stdout)).toBe("a\nb\n");
    expect(text((await vm.exec(["wc", "-c"])).stdout).trim()).toBe("0");
  });

  guestTest("wait for whoever takes their output", async () => {
    let bytes = 0;
    const result = await vm.exec(["head", "-c", "500000", "/dev/zero"], {
      onStdout: async (chunk) => {
        bytes += chunk.length;
        await new Promise((resolve) => setTimeout(resolve, 5));
      },
    });
    expect([result.exitCode, bytes, result.stdout.length]).toEqual([0, 500_000, 0]);
  });

  guestTest("are killed by their signal", async () => {
    await expect(vm.exec(["sleep", "600"], { signal: AbortSignal.timeout(500) })).rejects.toThrow();
    expect(text((await vm.exec(["sh", "-c", "ps | grep -c '[s]leep 600'"])).stdout).trim()).toBe("0");
  });
});

describe("the agent", () => {
  guestTest("tells what the guest is, where it is reached, and sets its clock", async () => {
    expect(await vm.agent.connect()).toMatchObject({ kind: "twinmetal" });
    expect(await vm.agent.osInfo()).toMatchObject({ id: "twinmetal", machine: "x86_64" });
    const [loopback] = await vm.network.addresses();
    expect(loopback?.name).toBe("lo");
    expect(loopback?.addresses).toContainEqual({ family: "ipv4", address: "127.0.0.1", prefixLength: 8 });
    const beforeMs = Date.now();
    await vm.setTime(1_000_000_000_000);
    expect((await vm.agent.time()) - 1_000_000_000_000).toBeLessThan(60_000);
    await vm.setTime();
    expect(await vm.agent.time()).toBeGreaterThanOrEqual(beforeMs - 1000);
  });

  guestTest("has nothing to freeze where there is no disk", async () => {
    expect(await vm.freeze()).toBe(0);
    expect(await vm.thaw()).toBe(0);
    expect(await vm.agent.isFrozen()).toBe(false);
  });
});

describe("the guest", () => {
  guestTest("takes files and gives them", async () => {
    const bytes = randomBytes(300_000);
    await vm.writeFile("/tmp/a file", bytes, { mode: 0o600 });
    const sum = await vm.exec(["sha256sum", "/tmp/a file"]);
    expect(text(sum.stdout).slice(0, 64)).toBe(createHash("sha256").update(bytes).digest("hex"));
    expect(Buffer.compare(await vm.readFile("/tmp/a file"), bytes)).toBe(0);
    await expect(vm.readFile("/tmp/nothing")).rejects.toBeInstanceOf(AgentError);
    await expect(vm.writeFile("/no/where", bytes)).rejects.toBeInstanceOf(AgentError);
  });

  guestTest("runs its kernel in ring 0 and its programs in ring 3", async () => {
    const abort = new AbortController();
    const spinning = vm.exec(["sh", "-c", "while :; do :; done"], { signal: abort.signal });
    const rings = new Set<number>();
    const kernelHalf = 2n ** 63n;
    for (let i = 0; i < 2000 && rings.size < 2; i++) {
      const { cpl, rip } = await vm.registers();
      expect(rip >= kernelHalf).toBe(cpl === 0);
      rings.add(cpl);
    }
    abort.abort();
    await expect(spinning).rejects.toThrow();
    expect([...rings].sort()).toEqual([0, 3]);
  });

  guestTest("does not notice a pause", async () => {
    const uptime = async (): Promise<number> =>
      Number(text((await vm.exec(["cat", "/proc/uptime"])).stdout).split(" ")[0]);
    const before = await uptime();
    await vm.pause();
    const hash = await vm.stateHash();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    expect(await vm.stateHash()).toBe(hash);
    await vm.resume();
    expect((await uptime()) - before).toBeLessThan(2.5);
  });

  guestTest("is as it was after a pause in the middle of a transfer", async () => {
    const bytes = randomBytes(MIB);
    const echoed = vm.exec(["cat"], { stdin: bytes });
    for (let i = 0; i < 5; i++) {
      await vm.pause();
      await new Promise((resolve) => setTimeout(resolve, 20));
      await vm.resume();
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    expect(Buffer.compare((await echoed).stdout, bytes)).toBe(0);
  });

  guestTest("goes on from a state saved under load, there and here", async () => {
    const load = `i=0; while [ $i -lt 15 ]; do head -c 200000 /dev/urandom >/tmp/block; i=$((i+1)); md5sum </bin/busybox; done >/tmp/sums; sort -u /tmp/sums | wc -l; wc -l </tmp/sums`;
    const worked = vm.exec(["sh", "-c", `{ ${load}; } >/tmp/result; cat /tmp/result`]);
    await new Promise((resolve) => setTimeout(resolve, 400));
    await vm.save(path("loaded"));
    expect(text((await worked).stdout)).toBe("1\n15\n");
    await using other = await restoreVm(path("loaded"));
    await other.start();
    // The new session's agent ends the old session's commands, so the kernel and its processes are what is seen here.
    const sums = await other.exec(["sh", "-c", "md5sum </bin/busybox; tail -n 1 /tmp/sums"]);
    const [fresh, saved] = text(sums.stdout).trim().split("\n");
    expect(saved ?? fresh).toBe(fresh);
    await other.serial.write("echo $((6 * 7)) on the serial port\n");
    await other.serial.waitFor("42 on the serial port", { timeoutMs: 20_000 });
  });
});

describe("a restored guest", () => {
  guestTest("records from there, and replays to the same state", async () => {
    const record = path("recording");
    const end = await restored({ record }, async (other) => {
      await other.serial.write("echo typed $((6 * 7))\n");
      await other.serial.waitFor("typed 42", { timeoutMs: 20_000 });
      expect(text((await other.exec(["sort"], { stdin: "b\na\n" })).stdout)).toBe("a\nb\n");
      await other.stop();
      return { stateHash: await other.stateHash(), retired: (await other.stats())["retired"] };
    });
    expect(await replayVm(record, { state: path("booted"), sliceNs: 1_000_000 })).toEqual(end);
    const missing = await replayVm(record).catch((error: unknown) => error);
    expect(missing).toMatchObject({ code: "replay-foreign" });
  });

  guestTest("has the time of day again", async () => {
    const anHourAgo = new Date(Date.now() - 3_600_000);
    await utimes(path("booted"), anHourAgo, anHourAgo);
    await restored({}, async (other) => {
      const date = Number(text((await other.exec(["date", "+%s"])).stdout));
      // The guest's clock stood at about now when it was saved.
      expect(date).toBeGreaterThan(Date.now() / 1000 + 3000);
      expect(Math.abs(date - (await other.stats())["calendarSeconds"]!)).toBeLessThan(20);
    });
  });

  guestTest("turns itself off at the power button", async () => {
    await restored({}, async (other) => {
      await other.stop({ timeoutMs: 30_000, force: false });
      expect(await other.wait()).toMatchObject({ kind: "off", reason: expect.stringContaining("ACPI") });
      expect(await other.exec(["true"]).catch((error: unknown) => error)).toBeInstanceOf(VmError);
    });
  });

  guestTest("turns itself off when asked to at its shell", async () => {
    await restored({}, async (other) => {
      const cut = other.exec(["sleep", "600"]).catch((error: unknown) => error);
      await other.serial.write("poweroff\n");
      expect(await other.wait({ signal: AbortSignal.timeout(30_000) })).toMatchObject({ kind: "off" });
      expect(await cut).toMatchObject({ code: "AGENT_LOST" });
    });
  });

  guestTest(
    "reboots, and its agent comes back",
    async () => {
      await restored({}, async (other) => {
        await other.serial.write("reboot\n");
        await other.serial.waitFor("Linux version", { timeoutMs: BOOT_TIMEOUT_MS });
        await other.serial.waitFor("# ", { timeoutMs: BOOT_TIMEOUT_MS });
        expect((await other.exec(["true"])).exitCode).toBe(0);
      });
    },
    2 * BOOT_TIMEOUT_MS,
  );
});
