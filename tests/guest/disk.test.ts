/**
 * Disks of a real Linux: what the guest writes is what the image holds, through file systems, saves and restores, a VM's
 * process that is killed, a full host, and a replay that has no disk.
 */
import { execFile, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, open, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  checkImage,
  createImage,
  createVm,
  ImageError,
  openNodeDisk,
  replayVm,
  restoreVm,
  type Vm,
} from "../../packages/host/src/index.ts";
import { keptTranslations } from "../kept-translations.ts";
import { tinyGuest } from "./tiny-guest.ts";

const MIB = 2 ** 20;
const guest = await tinyGuest();
const host = fileURLToPath(new URL("../../packages/host/dist/index.js", import.meta.url));
const qemuIo = "/usr/bin/qemu-io";
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "twinmetal-disk-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

async function emptyImage(name: string, sizeBytes: number): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, "");
  await truncate(path, sizeBytes);
  return path;
}

/** Output of a shell's script in the guest, which has to end well. */
async function shell(vm: Vm, script: string): Promise<string> {
  const { exitCode, stdout, stderr } = await vm.exec(["sh", "-ec", script]);
  const decoder = new TextDecoder();
  expect([exitCode, decoder.decode(stderr)].join(" "), script).toMatch(/^0/);
  return decoder.decode(stdout).trim();
}

async function bytesOf(path: string, offset: number, length: number): Promise<Uint8Array> {
  const file = await open(path);
  try {
    const bytes = new Uint8Array(length);
    await file.read(bytes, 0, length, offset);
    return bytes;
  } finally {
    await file.close();
  }
}

/**
 * A boot sector: prints BOOT-OK on the first serial port, reads sector 1 by INT 13h AH=42h and prints its first 7 bytes, writes
 * it to sector 5 by AH=43h and prints WRITTEN; FAIL where an INT 13h does.
 */
const BOOT_CODE =
  "31c08ed88ec08ed0bc00708816887cbe637cb90800e84300be787cb4428a16887ccd13722bbe0080b90700e82d0066c706807c05000000" +
  "be787cb800438a16887ccd13720bbe6b7cb90800e80d00ebfebe737cb90500e80200ebfeacbaf803eee2f9c3424f4f542d4f4b0a575249" +
  "5454454e0a4641494c0a100001000080000001";

describe("SeaBIOS", { timeout: 120_000 }, () => {
  it("boots from a disk, reads and writes it", async ({ skip }) => {
    const path = await emptyImage("boot.img", MIB);
    const image = await open(path, "r+");
    await image.write(Buffer.from(BOOT_CODE, "hex"), 0, undefined, 0);
    await image.write(Uint8Array.of(0x55, 0xaa), 0, 2, 510);
    await image.write(Buffer.from("SECOND\n"), 0, 7, 512);
    await image.close();
    const vm = await createVm({ firmware: "bios", disks: [{ path, format: "raw" }] }).catch((error: unknown) => {
      if (error instanceof ImageError) skip(`SeaBIOS cannot be fetched: ${error.message}`);
      throw error;
    });
    await using _vm = vm;
    await vm.start();
    // SeaBIOS' own console sends what it still has whenever its timer comes.
    const said = await vm.serial.waitFor(/WRITTEN|FAIL/, { timeoutMs: 100_000 });
    expect(said).toMatch(/BOOT-OK[\s.]+SECOND[\s.]+WRITTEN/);
    await vm.kill();
    expect(new TextDecoder().decode(await bytesOf(path, 5 * 512, 7))).toBe("SECOND\n");
  });
});

describe.skipIf("missing" in guest)("disks of a Linux", { timeout: 300_000 }, () => {
  it("hold what the guest writes; a read-only one holds, an ephemeral one forgets", async () => {
    const work = await emptyImage("work.img", 64 * MIB);
    const fixed = join(folder, "fixed.img");
    const content = randomBytes(MIB);
    await writeFile(fixed, content);
    const own = `${sha256(content)}  -`;
    await using vm = await createVm({
      disks: [{ path: work }, { path: fixed, isReadOnly: true }, { path: fixed, format: "raw", isEphemeral: true }],
    });
    await vm.start();
    expect(await shell(vm, "cat /sys/block/vd*/size /sys/block/vd*/ro /sys/block/vda/serial")).toBe(
      "131072\n2048\n2048\n0\n1\n0\ndisk0",
    );
    expect(await shell(vm, "sha256sum </dev/vdb; sha256sum </dev/vdc")).toBe(`${own}\n${own}`);
    const mounted = "mke2fs -F /dev/vda >/dev/null 2>&1; mount /dev/vda /mnt; cp /dev/vdb /mnt/copy; umount /mnt";
    expect(await shell(vm, `${mounted}; mount /dev/vda /mnt; sha256sum </mnt/copy; umount /mnt`)).toBe(own);
    await shell(
      vm,
      "dd if=/dev/zero of=/dev/vdc bs=64k count=1 conv=notrunc,fsync; dd if=/dev/vdb of=/dev/vda bs=1M seek=40 conv=notrunc,fsync",
    );
    expect(await shell(vm, "head -c 65536 /dev/vdc | tr -d '\\0' | wc -c")).toBe("0");
    expect((await vm.exec(["dd", "if=/dev/zero", "of=/dev/vdb", "bs=512", "count=1"])).exitCode).not.toBe(0);
    expect(`${sha256(await bytesOf(work, 40 * MIB, MIB))}  -`).toBe(own);
    await vm.kill();
    await vm.close();
    expect(sha256(await readFile(fixed))).toBe(sha256(content));
    await expect(createVm({ disks: [{ path: join(folder, "nothing.img") }] })).rejects.toMatchObject({
      code: "disk-not-found",
    });
  });

  it("go on in the middle of writes: in another machine, after a restore, and after a recording that needs none", async () => {
    const path = await emptyImage("saved.img", 32 * MIB);
    const [state, recording] = [join(folder, "saved.vm"), join(folder, "disk.rec")];
    const write = (seek: string): string =>
      `yes ${seek} | head -c 524288 | dd of=/dev/vda bs=64k seek=$((${seek}*8)) conv=notrunc,fsync`;
    const writes = `i=0; while [ $i -lt 8 ]; do ${write("$i")} 2>/dev/null; i=$((i+1)); done; echo >/tmp/done`;
    {
      await using vm = await createVm({ disks: [{ path }], memoryBytes: 128 * MIB, ...keptTranslations() });
      await vm.start();
      await shell(vm, `(${writes}) </dev/null >/dev/null 2>&1 &`);
      await (vm as unknown as { renewMachine(engine: "jit"): Promise<unknown> }).renewMachine("jit");
      await vm.save(state);
    }
    await expect(restoreVm(state)).rejects.toMatchObject({ code: "bad-option" });
    {
      await using vm = await restoreVm(state, { disks: [{ path }], record: recording, ...keptTranslations() });
      await vm.start();
      const lines = await shell(
        vm,
        "while ! [ -e /tmp/done ]; do sleep 0.2; done; i=0; while [ $i -lt 8 ]; do yes $i | head -c 524288; i=$((i+1)); done | sha256sum",
      );
      expect(`${sha256(await bytesOf(path, 0, 4 * MIB))}  -`).toBe(lines);
      await vm.stop({ timeoutMs: 60_000 });
    }
    await rm(path);
    expect((await replayVm(recording, { state })).stateHash).toMatch(/^[0-9a-f]{64}$/);
  });

  it("are whole when the VM's process is killed", async () => {
    const path = join(folder, "killed.qcow2");
    await createImage(path, { sizeBytes: 64 * MIB, format: "qcow2" });
    const script = `const { createVm } = await import(${JSON.stringify(host)});
      const vm = await createVm({ disks: [{ path: ${JSON.stringify(path)} }], memoryBytes: ${128 * MIB} });
      await vm.start();
      await vm.exec(["sh", "-c", "yes kept | head -c 1048576 | dd of=/dev/vda bs=64k conv=notrunc,fsync"]);
      console.log("flushed");
      await vm.exec(["sh", "-c", "while :; do dd if=/dev/urandom of=/dev/vda bs=64k seek=100 count=100 conv=notrunc; done"]);`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    await new Promise((resolve) => child.stdout.once("data", resolve));
    await new Promise((resolve) => setTimeout(resolve, 1000));
    child.kill("SIGKILL");
    await ended;
    expect((await checkImage(path)).errorCount).toBe(0);
    if (existsSync(qemuIo)) await promisify(execFile)("qemu-img", ["check", "-r", "leaks", path]);
    const { disk } = await openNodeDisk(path);
    const bytes = new Uint8Array(MIB);
    await disk.read(0, bytes);
    await disk.close();
    expect(new TextDecoder().decode(bytes)).toBe("kept\n".repeat(MIB / 5 + 1).slice(0, MIB));
  });
});
