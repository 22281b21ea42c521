// The VM object on guests of a few instructions: life, serial port, errors, state files, recordings.

import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { mkdtemp, open, readdir, readFile, rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createVm, replayVm, restoreVm, type Vm, VmError, type VmOptions } from "../../packages/host/src/index.ts";
import { bareKernel, GUESTS } from "./bare-kernel.ts";

const MIB = 2 ** 20;
const host = fileURLToPath(new URL("../../packages/host/dist/index.js", import.meta.url));
const run = promisify(execFile);
let directory = "";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "twinmetal-vm-"));
  for (const [name, code] of Object.entries(GUESTS)) await writeFile(join(directory, name), bareKernel(code));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const path = (name: string): string => join(directory, name);
const create = (guest: keyof typeof GUESTS, options: VmOptions = {}): Promise<Vm> =>
  createVm({ kernel: path(guest), memoryBytes: 16 * MIB, ...options });

async function failure(promise: Promise<unknown>): Promise<VmError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof VmError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("a VM's life", () => {
  it("runs until the guest turns it off, and tells", async () => {
    await using vm = await create("hello");
    const states: string[] = [];
    vm.on("state", (state) => states.push(state));
    const exit = new Promise((resolve) => vm.on("exit", resolve));
    expect(vm.state).toBe("created");
    await vm.start();
    expect(await vm.serial.waitFor("world")).toBe("hello, world");
    expect(await vm.wait()).toMatchObject({ kind: "off" });
    expect(await exit).toEqual(await vm.wait());
    expect(states).toEqual(["running", "off"]);
    expect(await vm.stateHash()).toMatch(/^[0-9a-f]{64}$/);
    expect((await failure(vm.pause())).code).toBe("bad-state");
    expect((await failure(vm.serial.waitFor("more"))).code).toBe("guest-ended");
    expect((await failure(vm.exec(["true"]))).code).toBe("guest-ended");
  });

  it("ends a guest that spins with interrupts off", async () => {
    await using vm = await create("spinning");
    await vm.start();
    await vm.serial.waitFor("spinning");
    const before = await vm.registers();
    expect(before.cpl).toBe(0);
    await vm.pause();
    const { retired } = await vm.registers();
    expect((await vm.registers()).retired).toBe(retired);
    await vm.resume();
    expect((await failure(vm.stop({ timeoutMs: 200, force: false }))).code).toBe("timeout");
    expect(vm.state).toBe("running");
    await vm.stop({ timeoutMs: 100 });
    expect(await vm.wait()).toMatchObject({ kind: "off", reason: "ended by the host" });
  });

  it("starts the guest again on reset", async () => {
    await using vm = await create("asleep");
    await vm.start();
    await vm.serial.waitFor("asleep");
    await vm.reset();
    await vm.serial.waitFor("asleep", { timeoutMs: 20_000 });
    await vm.kill();
    await vm.kill();
    expect(vm.state).toBe("off");
  });

  it("starts again from the file it began with, and from no other", async () => {
    const kernel = path("kernel");
    await writeFile(kernel, bareKernel(GUESTS.asleep));
    await using vm = await createVm({ kernel, memoryBytes: 16 * MIB });
    await vm.start();
    await vm.serial.waitFor("asleep");
    await rename(path("kernel"), path("old"));
    await writeFile(kernel, "another file of that name");
    await vm.reset();
    await vm.serial.waitFor("asleep", { timeoutMs: 20_000 });
    await writeFile(path("old"), bareKernel(GUESTS.hello));
    await vm.reset();
    expect(await vm.wait()).toMatchObject({ kind: "off", reason: expect.stringContaining("was changed") });
  });

  it("reports a triple fault with registers and branch targets", async () => {
    await using vm = await create("tripleFaulting");
    await vm.start();
    const exit = await vm.wait();
    expect(exit).toMatchObject({ kind: "crashed" });
    const report = exit.kind === "crashed" ? exit.report : "";
    expect(report).toContain("triple-fault");
    expect(report).toMatch(/^rsp 00000000002ffff0|rsp 00000000002ffff0/m);
    expect(report).toMatch(/^idtr 0000000000000000 limit 0$/m);
    expect(report).toContain("branch targets");
    expect(report).toMatch(/CPL 0/);
    expect(vm.state).toBe("crashed");
  });

  it("lets the process end when it is off, and never keeps it from ending", async () => {
    const program = (body: string): string[] => [
      "--input-type=module",
      "-e",
      `import { createVm } from ${JSON.stringify(host)};
       const make = (name) => createVm({ kernel: ${JSON.stringify(directory)} + "/" + name, memoryBytes: ${16 * MIB} });
       ${body}`,
    ];
    const off = await run(process.execPath, program(`const vm = await make("hello"); await vm.start();`), {
      timeout: 30_000,
    });
    expect(off.stderr).toBe("");
    const forced = `const vm = await make("spinning"); await vm.start(); await vm.serial.waitFor("spinning"); process.exit(3);`;
    await expect(run(process.execPath, program(forced), { timeout: 30_000 })).rejects.toMatchObject({ code: 3 });
  });
});

describe("the serial port", () => {
  it("takes what is typed, at the guest's pace, and ends its streams with the guest", async () => {
    await using vm = await create("echoing");
    const output = vm.serial.output[Symbol.asyncIterator]();
    await vm.start();
    await vm.serial.waitFor("ready\n");
    const typed = "0123456789abcdef".repeat(4096);
    await vm.serial.write(typed);
    await vm.serial.write("|q");
    const text = await vm.serial.waitFor(/\|q/);
    expect(text.length).toBe(typed.length + 2);
    expect(text.startsWith(typed)).toBe(true);
    let bytes = 0;
    for (let next = await output.next(); !next.done; next = await output.next()) bytes += next.value.length;
    expect(bytes).toBe("ready\n".length + typed.length + 2);
    await vm.wait();
    await vm.serial.write("nobody reads this");
  });

  it("lets a guest wait whose output nobody takes, and loses nothing", async () => {
    await using vm = await create("flooding");
    const output = vm.serial.output[Symbol.asyncIterator]();
    await vm.start();
    await output.next();
    const settled = async (): Promise<number> => {
      for (let last = -1; ; ) {
        await new Promise((resolve) => setTimeout(resolve, 300));
        const { outputBytes } = await vm.stats();
        if (outputBytes === last) return last;
        last = outputBytes!;
      }
    };
    const stuckAt = await settled();
    expect(stuckAt).toBeLessThan(4 * MIB);
    await vm.pause();
    await vm.resume();
    let expected: number = (await output.next()).value.at(-1) + 1;
    let bytes = 0;
    while (bytes < 2 * stuckAt) {
      const { value } = await output.next();
      expected %= 256;
      for (const byte of value) {
        if (byte !== expected) throw new Error(`${byte} instead of ${expected} after ${bytes} bytes`);
        expected = (expected + 1) % 256;
      }
      bytes += value.length;
    }
  });

  it("gives up waiting for text on a time-out and on abort", async () => {
    await using vm = await create("asleep");
    await vm.start();
    const late = await failure(vm.serial.waitFor("never", { timeoutMs: 300 }));
    expect(late.code).toBe("timeout");
    expect(late.message).toContain("asleep");
    const abort = new AbortController();
    const waiting = vm.serial.waitFor(/never/, { signal: abort.signal });
    abort.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    await expect(vm.wait({ signal: AbortSignal.timeout(50) })).rejects.toThrow();
  });
});

describe("what is wrong with a start is told before there is a machine", () => {
  it.each<[string, () => VmOptions, string, RegExp]>([
    ["no kernel", () => ({ kernel: path("nothing") }), "kernel-missing", /no kernel file/],
    ["a directory", () => ({ kernel: directory }), "kernel-unreadable", /is no file/],
    ["a device without end", () => ({ kernel: "/dev/zero" }), "kernel-unreadable", /is no file/],
    ["a foreign file", () => ({ kernel: process.execPath }), "not-a-bzimage", /ELF/],
    ["no initrd", () => ({ kernel: path("hello"), initrd: path("nothing") }), "initrd-missing", /no initrd file/],
    ["little memory", () => ({ kernel: path("hello"), memoryBytes: 1 * MIB }), "spec-memory", /16 MiB to 3072 MiB/],
    ["a bad seed", () => ({ kernel: path("hello"), seed: "xyz" }), "spec-seed", /hexadecimal/],
    ["a bad name", () => ({ kernel: path("hello"), name: "a b" }), "bad-option", /no name/],
    ["an unknown image", () => ({ image: "huge" }), "bad-option", /no image/],
    ["two origins", () => ({ image: "tiny", kernel: path("hello") }), "bad-option", /cannot both/],
    [
      "a recording nowhere",
      () => ({ kernel: path("hello"), record: path("no/where") }),
      "not-writable",
      /another path/,
    ],
  ])("%s", async (_, options, code, message) => {
    const error = await failure(createVm({ memoryBytes: 16 * MIB, ...options() }));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });

  it("a truncated kernel, and memory below what its header needs", async () => {
    await writeFile(path("truncated"), bareKernel(GUESTS.hello).subarray(0, 3000));
    expect((await failure(createVm({ kernel: path("truncated"), memoryBytes: 16 * MIB }))).code).toBe(
      "kernel-truncated",
    );
    const large = bareKernel(GUESTS.hello);
    new DataView(large.buffer).setUint32(0x260, 30 * MIB, true);
    await writeFile(path("large"), large);
    const error = await failure(createVm({ kernel: path("large"), memoryBytes: 16 * MIB }));
    expect(error).toMatchObject({ code: "memory-too-small", neededBytes: 32 * MIB });
    expect(error.message).toContain("32 MiB");
    const long = await failure(create("hello", { initrd: path("hello"), append: "x".repeat(3000) }));
    expect(long.code).toBe("command-line-too-long");
    await writeFile(path("large-initrd"), new Uint8Array(20 * MIB));
    const tooLarge = await failure(create("hello", { initrd: path("large-initrd") }));
    expect(tooLarge).toMatchObject({ code: "initrd-too-large", neededBytes: 23 * MIB });
  });

  it("an aborted creation", async () => {
    const reason = new Error("no longer");
    await expect(create("hello", { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const abort = new AbortController();
    const creating = create("hello", { signal: abort.signal });
    setTimeout(() => abort.abort(reason), 100);
    await expect(creating).rejects.toBe(reason);
  });
});

describe("saved states", () => {
  beforeAll(async () => {
    await using vm = await create("echoing");
    await vm.start();
    await vm.serial.waitFor("ready");
    await vm.save(path("state"));
  });

  it("go on where they were saved, in a VM of their own", async () => {
    await using vm = await create("echoing");
    await vm.start();
    await vm.serial.waitFor("ready");
    await vm.save(path("state-1"));
    expect(vm.state).toBe("running");
    await vm.serial.write("a");
    await vm.serial.waitFor("a");
    await vm.pause();
    await vm.save(path("state-2"));
    const hash = await vm.stateHash();

    await using second = await restoreVm(path("state-2"), { kernel: path("echoing") });
    expect(second.state).toBe("paused");
    await using first = await restoreVm(path("state-1"), { kernel: path("echoing") });
    await first.start();
    await first.serial.write("bq");
    expect(await first.serial.waitFor("q")).toBe("bq");
    expect(await first.wait()).toMatchObject({ kind: "off" });
    expect(await second.stateHash()).toBe(hash);
    expect((await stat(path("state"))).mode & 0o077).toBe(0);
  });

  it("run without their kernel's file, and turn off where they would need it", async () => {
    await using vm = await restoreVm(path("state"));
    await vm.start();
    await vm.reset();
    expect(await vm.wait()).toMatchObject({ kind: "off", reason: expect.stringContaining("not known") });
  });

  it("are refused when truncated, damaged, foreign or newer", async () => {
    const whole = await readFile(path("state"));
    const refused = async (change: (bytes: Buffer) => Uint8Array): Promise<string> => {
      await writeFile(path("broken"), change(Buffer.from(whole)));
      return (await failure(restoreVm(path("broken")))).code;
    };
    const set = (at: number, xor: number) => (bytes: Buffer) => {
      bytes[at]! ^= xor;
      return bytes;
    };
    expect(await refused((bytes) => bytes.subarray(0, bytes.length - 4096))).toBe("state-format");
    expect(await refused(set(4100, 1))).toMatch(/^state-checksum/);
    expect(await refused(set(0, 1))).toBe("state-format");
    expect(await refused(set(8, 2))).toBe("state-version");
    expect(await refused(() => bareKernel(GUESTS.hello))).toBe("state-format");
    expect((await failure(restoreVm(path("nothing")))).code).toBe("state-missing");
    expect((await failure(restoreVm(path("state"), { kernel: path("hello") }))).code).toBe("kernel-unknown");
  });

  it("appear whole or not at all", async () => {
    await using vm = await create("spinning");
    expect((await failure(vm.save(path("early")))).code).toBe("bad-state");
    await vm.start();
    await writeFile(path("kept"), "old");
    const abort = new AbortController();
    const reason = new Error("enough");
    const saving = vm.save(path("kept"), { signal: abort.signal });
    abort.abort(reason);
    await expect(saving).rejects.toBe(reason);
    expect((await failure(vm.save(path("no/where")))).code).toBe("not-writable");
    expect((await failure(vm.save("/dev/null"))).code).toBe("not-writable");
    expect((await failure(restoreVm("/dev/null"))).code).toBe("state-unreadable");
    expect(await readFile(path("kept"), "utf8")).toBe("old");
    expect((await readdir(directory)).filter((name) => name.endsWith(".part"))).toEqual([]);
    await vm.save(path("kept"));
    expect((await stat(path("kept"))).size).toBeGreaterThan(16 * MIB);
  });

  it("leave nothing on a full disk", async () => {
    const program = `import { createVm } from ${JSON.stringify(host)};
      const vm = await createVm({ kernel: ${JSON.stringify(path("spinning"))}, memoryBytes: ${16 * MIB} });
      await vm.start();
      await vm.save(${JSON.stringify(path("full"))}).catch((error) => console.log(error.code));
      await vm.close();`;
    const { stdout } = await run("sh", [
      "-c",
      `ulimit -f 100; exec "$0" --input-type=module -e "$1"`,
      process.execPath,
      program,
    ]);
    expect(stdout).toBe("disk-full\n");
    expect((await readdir(directory)).filter((name) => name.includes("full"))).toEqual([]);
  });
});

describe("recordings", () => {
  it.each(["virtual", "wall"] as const)("replay to the same state, %s clock", async (clock) => {
    const record = path(`recording-${clock}`);
    await using vm = await create("echoing", { clock, record });
    await vm.start();
    await vm.serial.waitFor("ready\n");
    for (const word of ["typed ", "at ", "leisure"]) {
      await vm.serial.write(word);
      await vm.serial.waitFor(word);
    }
    await vm.pause();
    await vm.resume();
    await vm.serial.write("q");
    await vm.wait();
    let text = "";
    const result = await replayVm(record, {
      kernel: path("echoing"),
      sliceNs: 50_000,
      onSerial: (bytes) => {
        text += Buffer.from(bytes).toString();
      },
    });
    expect(result).toEqual({ stateHash: await vm.stateHash(), retired: (await vm.stats())["retired"] });
    expect(text).toBe("ready\ntyped at leisureq");
  });

  it("end where the host ends the VM", async () => {
    const record = path("recording-killed");
    await using vm = await create("spinning", { record });
    await vm.start();
    await vm.serial.waitFor("spinning");
    await vm.close();
    expect((await replayVm(record, { kernel: path("spinning") })).retired).toBeGreaterThan(0);
  });

  it("may go into a pipe; a machine that is stuck there is ended all the same", async () => {
    const pipe = path("pipe");
    await run("mkfifo", [pipe]);
    const reader = await open(pipe, constants.O_RDWR | constants.O_NONBLOCK);
    try {
      await using vm = await create("echoing", { record: pipe });
      await vm.start();
      await vm.serial.waitFor("ready");
      void vm.serial.write("x".repeat(300_000));
      // On a busy host it takes a while until the pipe is full.
      const answer = (): Promise<unknown> => {
        const stats = vm.stats().catch(() => "refused");
        return Promise.race([stats, vm.wait(), new Promise((resolve) => setTimeout(resolve, 1500, "stuck"))]);
      };
      while ((await answer()) !== "stuck") expect(vm.state).toBe("running");
      await vm.kill();
      expect(vm.state).toBe("off");
      expect((await failure(vm.stats())).code).toBe("closed");
    } finally {
      await reader.close();
    }
  });

  it("are refused when cut off, foreign, or without their files", async () => {
    const record = path("recording-short");
    await using vm = await create("echoing", { record });
    await vm.start();
    await vm.serial.waitFor("ready");
    await vm.save(path("later"));
    await vm.kill();
    expect((await failure(replayVm(record, { kernel: path("hello") }))).code).toBe("kernel-unknown");
    expect((await failure(replayVm(path("later"), { kernel: path("echoing") }))).code).toBe("replay-format");
    expect((await failure(replayVm(path("nothing")))).code).toBe("recording-missing");
    expect((await failure(replayVm(record, { kernel: path("echoing"), state: path("later") }))).code).toMatch(
      /^replay-|^state-/,
    );
    await truncate(record, (await stat(record)).size - 3);
    expect((await failure(replayVm(record, { kernel: path("echoing") }))).code).toBe("replay-truncated");
  });
});
