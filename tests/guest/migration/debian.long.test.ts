// A Debian moves to another process while another one, at the same switch, has an ssh session and an iperf3 run with it: both
// connections live on, and nothing of them is lost. What the TCP client sees of it is the longest wait between two lines of ssh's.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { debianFile } from "../pc/debian-files.ts";
import { type Ending, makeKey, run, SHIM } from "../ssh.ts";
import { tinyGuest } from "../tiny-guest.ts";

const MINUTE_MS = 60_000;
const [SERVER, CLIENT] = ["10.77.0.1", "10.77.0.2"];
const LINES = 1200;
const IPERF_SECONDS = 90;
/** The migration begins so long after the traffic. */
const BEFORE_MS = 10_000;
const LIBRARIES = "usr/lib/x86_64-linux-gnu";
const IPERF = [
  { packageName: "iperf3", path: "usr/bin/iperf3" },
  { packageName: "libiperf0", path: `${LIBRARIES}/libiperf.so.0.0.0` },
  { packageName: "libsctp1", path: `${LIBRARIES}/libsctp.so.1.0.19` },
];
/** When each line of the session came, by the client's clock; then the longest wait between two, in ms, and how many were in order. */
const WATCH = `
import sys, time
last, longest, count = None, 0, 0
for line in sys.stdin:
    now = time.monotonic()
    longest = max(longest, now - (last or now))
    last = now
    if int(line) != count: sys.exit("line " + line + " came after " + str(count))
    count += 1
print(count, round(longest * 1000))
`;

const tiny = await tinyGuest();
const reason = "missing" in tiny ? tiny.missing : undefined;

async function waitFor(path: string): Promise<void> {
  while (!existsSync(path)) await sleep(100);
}

test.skipIf(reason !== undefined)(
  "a Debian under ssh and iperf3 moves to another process, and both go on",
  { timeout: 60 * MINUTE_MS },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-moving-"));
    const env = { TWINMETAL_HOME: folder };
    const twinmetal = (...words: string[]): Promise<Ending> => run(process.execPath, [SHIM, ...words], env);
    const done = async (...words: string[]): Promise<string> => {
      const ending = await twinmetal(...words);
      expect(ending, words.join(" ")).toMatchObject({ status: 0 });
      return ending.stdout;
    };
    const sh = (vm: string, script: string): Promise<string> => done("exec", vm, "--", "sh", "-ec", script);
    let target: ChildProcess | undefined;
    onTestFinished(async () => {
      await twinmetal("rm", "--force", "server", "client");
      target?.kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    });

    const key = await makeKey(folder);
    const lan = `switch=moving${process.pid}`;
    const login = ["--user", "ada", "--ssh-key", `${key}.pub`];
    for (const name of ["server", "client"]) await done("run", "-d", "--name", name, "debian", "--net", lan, ...login);
    for (const file of IPERF) {
      const bytes = await debianFile(file);
      if (typeof bytes === "string") throw new Error(bytes);
      writeFileSync(join(folder, "file"), bytes, { mode: 0o755 });
      for (const name of ["server", "client"]) await done("cp", join(folder, "file"), `${name}:/${file.path}`);
    }
    writeFileSync(join(folder, "watch.py"), WATCH);
    await done("cp", join(folder, "watch.py"), "client:/tmp/watch.py");
    await done("cp", key, "client:/tmp/key");
    for (const [name, address] of [
      ["server", SERVER],
      ["client", CLIENT],
    ])
      await sh(
        name!,
        `ldconfig; d=$(ls /sys/class/net | grep -v lo | head -n 1); ip link set $d up; ip addr add ${address}/24 dev $d`,
      );
    await sh("server", "cloud-init status --wait; iperf3 -s -D");

    const ssh = `ssh -i /tmp/key -o StrictHostKeyChecking=no -o BatchMode=yes ada@${SERVER}`;
    await sh("client", `chmod 600 /tmp/key; ${ssh} true`);
    const lines = `i=0; while [ $i -lt ${LINES} ]; do echo $i; i=$((i+1)); sleep 0.05; done`;
    const session = sh("client", `${ssh} '${lines}' | python3 /tmp/watch.py`);
    const traffic = sh("client", `iperf3 -c ${SERVER} -t ${IPERF_SECONDS} --json`);
    await sleep(BEFORE_MS);

    const there = join(folder, "there.sock");
    const disk = join(folder, "vms", "server", "disks", "image.qcow2");
    target = spawn(
      process.execPath,
      [SHIM, "run", "--incoming", `unix:${there}`, "--net", lan, "--disk", disk, ...login],
      { env: { ...process.env, ...env }, stdio: ["pipe", "ignore", "inherit"] },
    );
    await waitFor(there);
    console.log(await done("migrate", "server", `unix:${there}`));
    expect(await done("ls")).toMatch(/^server +off /m);

    const [count, longestMs] = (await session).split(" ").map(Number);
    console.log(`the longest wait between two of ${count} lines 50 ms apart: ${longestMs} ms`);
    expect(count).toBe(LINES);
    const { intervals, end, error } = JSON.parse(await traffic) as {
      readonly intervals: readonly { readonly sum: { readonly bytes: number } }[];
      readonly end: { readonly sum_received: { readonly bytes: number; readonly bits_per_second: number } };
      readonly error?: string;
    };
    expect(error).toBeUndefined();
    expect(end.sum_received.bytes).toBeGreaterThan(0);
    expect(intervals.slice(-5).every(({ sum }) => sum.bytes > 0)).toBe(true);
    console.log(`iperf3: ${(end.sum_received.bits_per_second / 1e6).toFixed(0)} Mbit/s`);
    expect(await sh("client", `${ssh} id -un`)).toBe("ada\n");
    target.kill("SIGTERM");
    await once(target, "exit");
  },
);
