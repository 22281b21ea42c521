/**
 * Shared folders of a real Linux: what either side writes is what the other reads, through saves, restores and changes of the
 * engine, and a replay that has no folder; and what a guest tries to get out of its folder.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createVm, replayVm, restoreVm, type ShareOptions, type Vm } from "../../packages/host/src/index.ts";
import type { HostedVm } from "../../packages/host/src/vm/hosted-vm.ts";
import { keptTranslations } from "../kept-translations.ts";
import { shell } from "./shell.ts";
import { tinyGuest } from "./tiny-guest.ts";
import { describeTree, makeTree } from "./trees.ts";

const guest = await tinyGuest();
let base: string;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "twinmetal-shares-"));
});
afterAll(() => rm(base, { recursive: true, force: true }));

function folder(name: string): string {
  const path = join(base, name);
  mkdirSync(path);
  return path;
}

async function start(shares: readonly ShareOptions[], more: Parameters<typeof createVm>[0] = {}): Promise<Vm> {
  const vm = await createVm({ memoryBytes: 192 * 2 ** 20, isQuiet: true, shares, ...keptTranslations(), ...more });
  await vm.start();
  return vm;
}

const TREE_FILES = 200;

describe.skipIf("missing" in guest)("a shared folder by virtio-fs", { timeout: 240_000 }, () => {
  it("a tree is copied in and out, and is the same", async () => {
    const [there, back] = [folder("there"), folder("back")];
    makeTree(there, TREE_FILES);
    const vm = await start([{ path: there, isReadOnly: true }, { path: back }]);
    try {
      await shell(vm, "cp -a /share/there/. /tmp/tree && cp -a /tmp/tree/. /share/back/");
      expect(await shell(vm, "find /share/back -type f | wc -l")).toBe(String(TREE_FILES));
    } finally {
      await vm.close();
    }
    expect(describeTree(back)).toBe(describeTree(there));
  });

  it("open files survive a save and a restore, and a change of machines; what is gone is stale", async () => {
    const path = folder("kept");
    writeFileSync(join(path, "stays"), "one\ntwo\nthree\n");
    writeFileSync(join(path, "goes"), "x\n");
    const state = join(base, "kept.vm");
    let vm = await start([{ path }]);
    try {
      // Open both ways, it never is at its end: a reader that opened it anew could find the last writer about to close it.
      const commands = "exec 8<>/tmp/go";
      const reader = "exec 5</share/kept/stays 6</share/kept/goes 7>>/share/kept/log; read -r a <&5; echo $a >&7";
      await shell(
        vm,
        `mkfifo /tmp/go; (${commands}; ${reader}; while read -r what <&8; do eval "$what"; done) >/dev/null 2>&1 &`,
      );
      await shell(vm, "until [ -s /share/kept/log ]; do sleep 0.1; done");
      await (vm as HostedVm).renewMachine("jit");
      await shell(
        vm,
        "echo 'read -r a <&5; echo $a >&7' >/tmp/go; until grep -q two /share/kept/log; do sleep 0.1; done",
      );
      await vm.pause();
      await vm.save(state);
      await vm.close();
      rmSync(join(path, "goes"));
      await expect(restoreVm(state)).rejects.toMatchObject({ code: "bad-option" });
      vm = await restoreVm(state, { shares: [{ path }] });
      await vm.start();
      await shell(
        vm,
        "echo 'read -r a <&5; echo $a >&7' >/tmp/go; until grep -q three /share/kept/log; do sleep 0.1; done",
      );
      await shell(
        vm,
        "echo 'cat <&6 >/dev/null 2>&7 || true; echo end >&7' >/tmp/go; until grep -q end /share/kept/log; do sleep 0.1; done",
      );
      expect(readFileSync(join(path, "log"), "utf8")).toMatch(/^one\ntwo\nthree\n.*(stale|Stale).*\nend\n$/s);
      expect(await shell(vm, "echo new >/share/kept/new; cat /share/kept/stays | head -n 1")).toBe("one");
    } finally {
      await vm.close();
    }
    expect(readFileSync(join(path, "new"), "utf8")).toBe("new\n");
  });

  it("is replayed without the folder", async () => {
    const path = folder("recorded");
    writeFileSync(join(path, "in"), "recorded");
    const record = join(base, "shares.rec");
    const vm = await start([{ path }], { record, clock: "virtual" });
    try {
      expect(await shell(vm, "cat /share/recorded/in; ls /share/recorded; echo out >/share/recorded/out")).toBe(
        "recordedin",
      );
      await shell(vm, "sync");
    } catch (error) {
      await vm.close();
      throw error;
    }
    await vm.close();
    rmSync(path, { recursive: true });
    expect((await replayVm(record)).stateHash).toMatch(/^[0-9a-f]{64}$/);
  });

  it("has no way out for a guest that is root", async () => {
    const path = folder("jail");
    const secret = join(base, "secret");
    writeFileSync(secret, "secret");
    writeFileSync(join(path, "hello"), "hello");
    symlinkSync(secret, join(path, "from-host"));
    execFileSync("mkfifo", [join(path, "fifo")]);
    const vm = await start([{ path }, { path, name: "locked", isReadOnly: true }]);
    try {
      // What a guest's own links mean is the guest's: they are followed there.
      const refused = [
        `cat /share/jail/from-host`,
        `ln -s ${secret} /share/jail/link; cat /share/jail/link`,
        `ln -s / /share/jail/root; cat /share/jail/root${secret}`,
        `cat /share/jail/../secret`,
        `mknod /share/jail/dev b 8 0`,
        `mknod /share/jail/pipe p`,
        `timeout 2 cat /share/jail/fifo`,
        `chown 1000 /share/jail/hello`,
        `echo x >/share/locked/hello`,
        `rm /share/locked/hello`,
        `mkdir /share/locked/d`,
        `mv /share/locked/hello /share/locked/h2`,
        `chmod 777 /share/locked/hello`,
        `mount --bind /share/jail /mnt 2>/dev/null; cat /share/jail/../../secret`,
      ];
      for (const script of refused) {
        const { exitCode, stdout } = await vm.exec(["sh", "-c", script]);
        expect([script, exitCode === 0, new TextDecoder().decode(stdout)]).toEqual([script, false, ""]);
      }
      await shell(vm, "cp /bin/busybox /share/jail/tool; chmod 4755 /share/jail/tool");
    } finally {
      await vm.close();
    }
    expect(statSync(join(path, "tool")).mode & 0o7000).toBe(0);
    expect(readFileSync(join(path, "hello"), "utf8")).toBe("hello");
    expect(readFileSync(secret, "utf8")).toBe("secret");
  });

  it("is refused with a reason where it cannot be", async () => {
    await expect(createVm({ shares: [{ path: join(base, "none") }] })).rejects.toMatchObject({
      code: "share-unusable",
      message: expect.stringContaining("it is not there"),
    });
    const path = folder("two words");
    await expect(createVm({ shares: [{ path }] })).rejects.toMatchObject({ code: "bad-option" });
  });
});
