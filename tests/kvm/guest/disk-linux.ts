/**
 * Linux on KVM with a disk: what it writes and flushes is what the image holds, seen from outside; a guest that sleeps is
 * woken by its requests; saved in the middle of writes, the writes go on in jit, interpreted, and all arrive.
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync, truncateSync, writeFileSync } from "node:fs";
import { AgentError, createVm, restoreVm, type Vm } from "@twinmetal/host";
import { afterAll, describe, expect, it } from "vitest";
import { unusableFeatures } from "./engines.ts";

const MINUTE_MS = 60_000;
const MIB = 2 ** 20;
const KIB_64 = 65_536;
const [DISK, STATE] = ["/tmp/work.img", "/tmp/disk.state"];
/** Each part of what is written in the middle of the save: its number, again and again. */
const PARTS = 16;
const vms: Vm[] = [];

function kept(vm: Vm): Vm {
  vms.push(vm);
  return vm;
}

async function shell(vm: Vm, script: string): Promise<string> {
  for (;;) {
    try {
      const { exitCode, stdout, stderr } = await vm.exec(["sh", "-ec", script]);
      const decoder = new TextDecoder();
      expect(`${exitCode} ${decoder.decode(stderr)}`, script).toMatch(/^0/);
      return decoder.decode(stdout).trim();
    } catch (error) {
      // However long the boot takes in here.
      if (!(error instanceof AgentError && error.code === "AGENT_TIMEOUT")) throw error;
    }
  }
}

function imageHash(offset: number, length: number): string {
  const file = openSync(DISK, "r");
  const bytes = new Uint8Array(length);
  readSync(file, bytes, 0, length, offset);
  closeSync(file);
  return `${createHash("sha256").update(bytes).digest("hex")}  -`;
}

afterAll(async () => {
  for (const vm of vms) await vm.close();
});

describe("a disk of Linux on the kvm engine", () => {
  it("holds what is written and flushed", { timeout: 10 * MINUTE_MS }, async () => {
    writeFileSync(DISK, "");
    truncateSync(DISK, 32 * MIB);
    const vm = kept(
      await createVm({
        engine: "kvm",
        memoryBytes: 128 * MIB,
        cpuFeatures: unusableFeatures(),
        append: "quiet",
        disks: [{ path: DISK, format: "raw" }],
      }),
    );
    await vm.start();
    expect(vm.engine).toBe("kvm");
    expect(await shell(vm, "cat /sys/block/vda/size")).toBe("65536");
    const written = await shell(
      vm,
      "head -c 4194304 /dev/urandom >/tmp/r; dd if=/tmp/r of=/dev/vda bs=64k seek=256 conv=notrunc,fsync 2>/dev/null; sha256sum </tmp/r",
    );
    expect(imageHash(256 * KIB_64, 4 * MIB)).toBe(written);
    const read = "echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda bs=64k skip=256 count=64 2>/dev/null | sha256sum";
    expect(await shell(vm, read)).toBe(written);
    const startMs = performance.now();
    await shell(
      vm,
      "echo 3 >/proc/sys/vm/drop_caches; i=0; while [ $i -lt 40 ]; do dd if=/tmp/r of=/dev/vda bs=512 count=1 seek=$i conv=notrunc,fsync 2>/dev/null; i=$((i+1)); done",
    );
    console.log(`40 processes that write and flush a sector: ${Math.round(performance.now() - startMs)} ms`);
    console.log(JSON.stringify(await vm.stats()));
    const part = `yes $i | head -c 65536 | dd of=/dev/vda bs=64k seek=$i conv=notrunc,fsync 2>/dev/null`;
    const writes = `i=0; while [ $i -lt ${PARTS} ]; do ${part}; i=$((i+1)); done; echo >/tmp/done`;
    await shell(vm, `(${writes}) </dev/null >/dev/null 2>&1 &`);
    await vm.save(STATE);
    await vm.close();
  });

  it("gets the rest of the writes from jit", { timeout: 10 * MINUTE_MS }, async () => {
    const vm = kept(await restoreVm(STATE, { engine: "jit", tier: "interp", disks: [{ path: DISK, format: "raw" }] }));
    await vm.start();
    await shell(vm, "while ! [ -e /tmp/done ]; do sleep 0.2; done");
    const all = await shell(
      vm,
      `i=0; while [ $i -lt ${PARTS} ]; do yes $i | head -c 65536; i=$((i+1)); done | sha256sum`,
    );
    expect(imageHash(0, PARTS * KIB_64)).toBe(all);
  });
});
