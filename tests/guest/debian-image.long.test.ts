// The image debian, made of packages and used as docs/guide/images.md says: root's shell on the console, a command by its agent,
// and a VM that stays, with a user and a key by cloud-init, reached by ssh over a forwarded port, whose disk keeps what is written.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createVm, ensureDebianImage } from "../../packages/host/src/index.ts";
import { repository } from "../clone.ts";
import { type Ending, makeKey, run, SHIM, ssh } from "./ssh.ts";
import { tinyGuest } from "./tiny-guest.ts";

const MINUTE_MS = 60_000;
const GUIDE = join(repository, "docs", "guide", "images.md");
const tiny = await tinyGuest();
const reason = "missing" in tiny ? tiny.missing : undefined;
if (reason !== undefined) console.warn(`The image debian skipped: ${reason}`);

const startMs = performance.now();
const note = (what: string): void => console.log(`${what} after ${Math.round((performance.now() - startMs) / 1000)} s`);

test.skipIf(reason !== undefined)(
  "debian is made of packages, and starts to root's shell without a seed",
  { timeout: 90 * MINUTE_MS },
  async () => {
    const making = [1, 2].map(async () => {
      const phases: string[] = [];
      const made = await ensureDebianImage({ onProgress: ({ phase }) => void phases.push(phase) });
      return { made, isMaker: phases.some((phase) => phase !== "wait") };
    });
    const [one, other] = await Promise.all(making);
    expect(one!.made).toEqual(other!.made);
    expect(one!.isMaker && other!.isMaker).toBe(false);
    const image = one!.made;
    note("image");
    await using vm = await createVm({
      kernel: image.kernelPath,
      initrd: image.initrdPath,
      append: image.append,
      memoryBytes: 2 ** 30,
      disks: [{ path: image.diskPath, format: "raw", isEphemeral: true }],
    });
    await vm.start();
    await vm.serial.waitFor("root@debian:~#", { timeoutMs: 20 * MINUTE_MS });
    note("prompt");
    const sh = async (script: string): Promise<string> => {
      const { stdout, stderr } = await vm.exec(["sh", "-c", script], { agentTimeoutMs: 10 * MINUTE_MS });
      return Buffer.concat([stdout, stderr]).toString();
    };
    expect(await vm.agent.connect({ timeoutMs: 10 * MINUTE_MS })).toMatchObject({ kind: "qemu" });
    note("agent");
    expect(await sh("systemctl is-system-running --wait; systemctl --failed --no-legend")).toBe("running\n");
    expect(await sh("dpkg --audit; dpkg -l | tail -n +6 | cut -c1-2 | sort -u; dpkg --verify")).toBe("ii\n");
    expect(await sh("cloud-init status; ls /etc/ssh/ssh_host_*_key")).toContain("disabled");
    expect(await sh("findmnt -no SOURCE,FSTYPE /; dumpe2fs -h /dev/vda 2>&1 | grep -c has_journal")).toMatch(
      /^\/dev\/vda ext4\n1\n$/,
    );
    await vm.shutdown();
    expect((await vm.wait()).kind).toBe("off");
    note("off");
  },
);

test.skipIf(reason !== undefined)(
  "a debian that stays lets a user in by ssh, with the key that it was given, and keeps its disk",
  { timeout: 150 * MINUTE_MS },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-debian-image-"));
    const twinmetal = (...words: string[]): Promise<Ending> =>
      run(process.execPath, [SHIM, ...words], { TWINMETAL_HOME: folder });
    onTestFinished(async () => {
      await twinmetal("rm", "--force", "web");
      rmSync(folder, { recursive: true, force: true });
    });
    const key = await makeKey(folder);
    const port = String(20_000 + (process.pid % 20_000));
    const example = /^twinmetal (run -d --name web debian .*)$/m.exec(readFileSync(GUIDE, "utf8"))?.[1] ?? "";
    const words = example.replace("~/.ssh/id_ed25519.pub", `${key}.pub`).replace("2222:", `${port}:`).split(" ");
    expect(await twinmetal(...words, "--hostname", "web")).toMatchObject({ status: 0 });
    note("started");
    const login = { user: "ada", key, port, folder };
    const first = await ssh(
      login,
      "id -un; hostname; sudo -n id -u; cloud-init status --wait; echo kept | sudo tee /kept",
    );
    note("ssh");
    expect(first).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^ada\nweb\n0\n\.*\n?status: done\nkept\n$/),
    });
    expect(await twinmetal("exec", "web", "--", "getent", "hosts", "localhost")).toMatchObject({ status: 0 });
    const stranger = ["-o", "PubkeyAuthentication=no", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"];
    const refused = await run("ssh", [...stranger, "-p", port, "root@127.0.0.1", "true"]);
    expect(refused).toMatchObject({ status: 255, stderr: expect.stringContaining("Permission denied") });
    expect(await twinmetal("restart", "web", "--timeout", "600")).toMatchObject({ status: 0 });
    expect(await ssh(login, "cat /kept")).toMatchObject({ status: 0, stdout: "kept\n" });
    note("restarted");
    expect(await twinmetal("stop", "web", "--timeout", "600")).toMatchObject({ status: 0 });
    note("off");
  },
);

test.skipIf(reason !== undefined)(
  "what keeps debian from being made is said in words, and nothing half-made stays",
  { timeout: 5 * MINUTE_MS },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-no-debian-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const unreachable = { cacheDirectory: folder, mirror: "http://127.0.0.1:9/debian", keyring: null };
    await expect(ensureDebianImage(unreachable)).rejects.toMatchObject({ code: "IMAGE_NETWORK" });
    expect(readdirSync(folder)).toEqual([]);
    const small = join(folder, "small");
    mkdirSync(small);
    if ((await run("mount", ["-t", "tmpfs", "-o", "size=64M", "tmpfs", small])).status !== 0) return;
    onTestFinished(async () => void (await run("umount", [small])));
    await expect(ensureDebianImage({ cacheDirectory: small })).rejects.toMatchObject({ code: "IMAGE_NO_SPACE" });
    expect(readdirSync(small)).toEqual([]);
  },
);
