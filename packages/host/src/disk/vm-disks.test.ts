// The thread that has a VM's disks, driven as a machine does it: by the ring.
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import type { BlockRequest } from "@twinmetal/core";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { RingBlocks } from "./block-ring.ts";
import type { DiskProblem } from "./disk-protocol.ts";
import type { DiskThread } from "./disk-thread.ts";
import { openVmDisks } from "./vm-disks.ts";

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "twinmetal-disks-"));
  path = join(folder, "disk.img");
  await writeFile(path, new Uint8Array(8192).fill(5));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A machine that waits for each of its requests. */
function machineOf(thread: DiskThread) {
  const blocks = new RingBlocks(thread.ring);
  const cells = new Int32Array(new SharedArrayBuffer(4));
  thread.wakes(cells.buffer as SharedArrayBuffer, 0);
  let nextId = 0;
  const ask = async (
    request: Omit<BlockRequest, "id">,
    bytes?: Uint8Array,
  ): Promise<{ isOk: boolean; bytes: Uint8Array }> => {
    if (bytes) blocks.writeBuffer("disk0", bytes.length).set(bytes);
    blocks.submit("disk0", { id: nextId++, ...request });
    for (;;) {
      const done = blocks.take();
      if (done) return { isOk: done.isOk, bytes: done.bytes.slice() };
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  return {
    read: (offset: number, length: number) => ask({ operation: "read", offset, length }),
    write: (offset: number, bytes: Uint8Array) => ask({ operation: "write", offset, length: bytes.length }, bytes),
    flush: () => ask({ operation: "flush", offset: 0, length: 0 }),
    zero: (offset: number, length: number) => ask({ operation: "write-zeroes", offset, length, mayUnmap: true }),
  };
}

const hasPrlimit = existsSync("/usr/bin/prlimit") && existsSync("/bin/bash");
const dist = new URL("../../dist/disk/", import.meta.url).href;
/** One write, which is made again for each line of input. */
const FULL_HOST = `
  const [dist, path] = process.argv.slice(1);
  const { openVmDisks } = await import(dist + "vm-disks.js");
  const { RingBlocks } = await import(dist + "block-ring.js");
  const { createInterface } = await import("node:readline");
  const { thread } = await openVmDisks([{ path, format: "raw" }]);
  const blocks = new RingBlocks(thread.ring);
  thread.onProblem = ({ code, isBlocked }) => console.log(code + (isBlocked ? " blocked" : ""));
  createInterface({ input: process.stdin }).on("line", () => thread.retry());
  blocks.writeBuffer("disk0", 512).fill(7);
  blocks.submit("disk0", { id: 0, operation: "write", offset: 2 << 20, length: 512 });
  for (let done; !done; done = blocks.take()) await new Promise((resolve) => setTimeout(resolve, 2));
  console.log("done");
  await thread.close();
  process.exit();
`;

const sector = (value: number): Uint8Array => new Uint8Array(512).fill(value);

describe("a VM's disks", () => {
  it("do what the machine asks for, and say their sizes", async () => {
    const { thread, devices } = await openVmDisks([{ path }]);
    expect(devices).toEqual([{ kind: "virtio-block", name: "disk0", sizeBytes: 8192, isReadOnly: false, queues: 1 }]);
    const machine = machineOf(thread!);
    expect((await machine.write(512, sector(1))).isOk).toBe(true);
    expect((await machine.read(512, 512)).bytes).toEqual(sector(1));
    expect((await machine.flush()).isOk).toBe(true);
    expect((await machine.zero(1024, 512)).isOk).toBe(true);
    await thread!.close();
    const bytes = await readFile(path);
    expect([bytes[0], bytes[512], bytes[1024], bytes[1536]]).toEqual([5, 1, 0, 5]);
  });

  it("tell an error to the machine, and to who runs it", async () => {
    const { thread } = await openVmDisks([{ path, isReadOnly: true }]);
    const problems: DiskProblem[] = [];
    thread!.onProblem = (problem) => problems.push(problem);
    const machine = machineOf(thread!);
    expect((await machine.write(0, sector(1))).isOk).toBe(false);
    expect((await machine.read(0, 512)).bytes).toEqual(sector(5));
    await vi.waitFor(() => expect(problems).toMatchObject([{ path, code: "read-only", isBlocked: false }]));
    await thread!.close();
  });

  it("keep what is written to an ephemeral one to themselves", async () => {
    const { thread } = await openVmDisks([{ path, isEphemeral: true }]);
    const machine = machineOf(thread!);
    await machine.write(512, sector(1));
    expect((await machine.read(0, 1024)).bytes).toEqual(Uint8Array.of(...sector(5), ...sector(1)));
    await thread!.close();
    expect((await readFile(path)).every((byte) => byte === 5)).toBe(true);
  });

  it("read what limits have held back from the disc that was there then", async () => {
    const other = join(folder, "other.iso");
    await writeFile(other, new Uint8Array(8192).fill(6));
    const cd = { format: "raw", isReadOnly: true, isCdrom: true } as const;
    const { thread: opened } = await openVmDisks([{ ...cd, path, limits: { requestsPerSecond: 1 } }]);
    const thread = opened!;
    try {
      const { read } = machineOf(thread);
      await read(0, 2048);
      const held = read(0, 2048);
      const [before] = await thread.usage();
      while ((await thread.usage())[0]!.heldMs <= before!.heldMs)
        await new Promise((resolve) => setTimeout(resolve, 5));
      await thread.change(0, { ...cd, path: other });
      expect((await held).bytes[0]).toBe(5);
      await thread.limit(0, {});
      expect((await read(0, 2048)).bytes[0]).toBe(6);
    } finally {
      await thread.close();
    }
  });

  it("reach the machine's memory, where each format and an overlay put what is read", async () => {
    const memory = new Uint8Array(new SharedArrayBuffer(1 << 16));
    for (const disk of [{ path }, { path, isEphemeral: true }]) {
      const { thread } = await openVmDisks([disk]);
      const blocks = new RingBlocks(thread!.ring, memory);
      thread!.reach(blocks.memory!);
      while (!blocks.reachesMemory) await new Promise((resolve) => setTimeout(resolve, 1));
      const carryOut = (id: number, request: Omit<BlockRequest, "id">) => {
        blocks.submit("disk0", { id, ...request });
        blocks.settle();
        return blocks.take();
      };
      memory.fill(6, 8192, 8448).fill(7, 100, 356).fill(0, 0, 100);
      const spans = [8192, 256, 100, 256];
      expect(carryOut(1, { operation: "write", offset: 512, length: 512, spans })).toMatchObject({ isOk: true });
      const done = carryOut(2, { operation: "read", offset: 0, length: 1024, spans: [16384, 512, 20000, 512] });
      expect(done).toMatchObject({ id: 2, isOk: true, isInMemory: true });
      expect([memory[16384], memory[20000], memory[20511]]).toEqual([5, 6, 7]);
      await thread!.close();
    }
  });

  it("give their images back and open them again, with nothing lost", async () => {
    const { thread } = await openVmDisks([{ path }]);
    const machine = machineOf(thread!);
    await machine.write(0, sector(2));
    await expect(openVmDisks([{ path }])).rejects.toMatchObject({ code: "disk-locked" });
    await thread!.suspend();
    const other = await openVmDisks([{ path }]);
    const waiting = machine.read(0, 512);
    await expect(thread!.open()).rejects.toMatchObject({ code: "disk-locked" });
    await other.thread!.close();
    await thread!.openAgain();
    expect((await waiting).bytes).toEqual(sector(2));
    await thread!.close();
  });

  it.skipIf(!hasPrlimit)("keep a write that finds no space, until there is some", { timeout: 30_000 }, async () => {
    await truncate(path, 4 << 20);
    // A file may not be longer than its process's limit, which is lifted from outside.
    const limited = `trap '' XFSZ; ulimit -S -f 100; exec "$0" --input-type=module -e "$1" "$2" "$3"`;
    const child = spawn("bash", ["-c", limited, process.execPath, FULL_HOST, dist, path], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async (): Promise<string> => ((await lines.next()) as { value: string }).value;
    expect(await next()).toBe("no-space blocked");
    child.stdin.write("retry\n");
    expect(await next()).toBe("no-space blocked");
    await promisify(execFile)("prlimit", ["--pid", String(child.pid), "--fsize=unlimited"]);
    child.stdin.end("retry\n");
    expect(await next()).toBe("done");
    await new Promise((resolve) => child.once("exit", resolve));
    expect((await readFile(path))[2 << 20]).toBe(7);
  });

  it("are not guessed to be what a guest may have written", async () => {
    const header = new Uint8Array(8192);
    header.set([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]);
    await writeFile(path, header);
    await expect(openVmDisks([{ path }])).rejects.toMatchObject({ code: "disk-unsupported" });
    const { thread } = await openVmDisks([{ path, format: "raw" }]);
    await thread!.close();
    await writeFile(join(folder, "empty.qcow2"), new Uint8Array(512));
    await expect(openVmDisks([{ path: join(folder, "empty.qcow2") }])).rejects.toMatchObject({
      code: "disk-unsupported",
    });
    await expect(openVmDisks([{ path: join(folder, "none.img") }])).rejects.toMatchObject({ code: "disk-not-found" });
    await writeFile(path, new Uint8Array(0));
    await expect(openVmDisks([{ path }])).rejects.toThrow(`${path} is a disk of 0 bytes`);
  });
});
