// A debugger outside the guest: `vm.debug`, and GDB's protocol by a client of the test's own and by GDB itself.

import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GdbPacketReader, gdbPacket } from "../../packages/host/src/debug/gdb-packets.ts";
import { createVm, serveGdb, type Vm } from "../../packages/host/src/index.ts";
import { AT, COUNT_AT, DEBUGGED, ENTRY } from "./debugging.ts";

const WAIT_MS = 60_000;
let directory = "";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "twinmetal-debug-"));
  await writeFile(join(directory, "kernel"), DEBUGGED);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const create = (cpus = 1): Promise<Vm> =>
  createVm({ kernel: join(directory, "kernel"), engine: "jit", memoryBytes: 16 * 2 ** 20, cpus });

describe("vm.debug", () => {
  it("steps, and stops at breakpoints and behind accesses", { timeout: WAIT_MS }, async () => {
    await using vm = await create();
    const { debug } = vm;
    const stops: unknown[] = [];
    vm.on("debug", (stop) => stops.push(stop));
    await debug.startPaused();
    expect([vm.state, (await debug.registers()).rip]).toEqual(["paused", AT.start]);
    expect(await debug.step()).toEqual({ kind: "step", vcpu: 0 });
    expect([vm.state, (await debug.registers()).rip]).toEqual(["paused", AT.second]);

    await debug.set({ software: [AT.store] });
    const hit = { kind: "breakpoint", address: AT.store, vcpu: 0 };
    for (const count of [1n, 2n]) {
      expect(await debug.continue({ timeoutMs: WAIT_MS })).toEqual(hit);
      expect((await debug.registers()).gpr[3]).toBe(count);
    }
    await debug.set({ hardware: [{ on: "write", address: COUNT_AT, bytes: 4 }] });
    expect(await debug.continue()).toEqual({ kind: "watchpoint", address: COUNT_AT, vcpu: 0 });
    expect((await debug.registers()).rip).toBe(AT.compare);
    expect([...(await debug.readMemory(COUNT_AT, 4))]).toEqual([2, 0, 0, 0]);
    expect(stops).toEqual([{ kind: "step", vcpu: 0 }, hit, hit, { kind: "watchpoint", address: COUNT_AT, vcpu: 0 }]);

    const state = await debug.registers();
    await debug.setRegisters({ ...state, gpr: state.gpr.map((value, i) => (i === 3 ? 4n : value)) });
    await debug.writeMemory(COUNT_AT, Uint8Array.of(9), { isPhysical: true });
    expect([...(await debug.readMemory(COUNT_AT, 1))]).toEqual([9]);
    await debug.set(undefined);
    await expect(debug.continue({ timeoutMs: WAIT_MS })).rejects.toMatchObject({ code: "guest-ended" });
    expect(vm.state).toBe("off");
  });

  it("refuses what cannot be, in words", async () => {
    await using vm = await create();
    const { debug } = vm;
    await expect(debug.step()).rejects.toThrow("Single steps are taken while the VM is paused.");
    await debug.startPaused();
    const five = Array.from({ length: 5 }, (_, i) => ({ on: "write", address: BigInt(i) }) as const);
    await expect(debug.set({ hardware: five })).rejects.toThrow(/5 hardware breakpoints; a processor has 4/);
    await expect(debug.registers(1)).rejects.toThrow("There is no vCPU 1: the VM has 1, from 0 on.");
    await expect(debug.readMemory(1n << 40n, 1)).rejects.toMatchObject({ code: "no-memory" });
    await expect(debug.readMemory(0n, 2 ** 21)).rejects.toThrow(/possible are 0 to 1048576/);
    await expect(debug.continue({ timeoutMs: 1, signal: AbortSignal.abort(new Error("no")) })).rejects.toThrow("no");
  });

  it("is not for vCPUs in parallel, and says so", { timeout: WAIT_MS }, async () => {
    const [kernel, memoryBytes] = [join(directory, "kernel"), 16 * 2 ** 20];
    await using vm = await createVm({
      kernel,
      engine: "jit",
      memoryBytes,
      cpus: 2,
      smp: "parallel",
      startsPaused: true,
    });
    await vm.start();
    const refusal = { code: "bad-option", message: expect.stringMatching(/take turns, not in parallel/) };
    await expect(vm.debug.set({ software: [AT.store] })).rejects.toMatchObject(refusal);
    await expect(vm.debug.step()).rejects.toMatchObject(refusal);
    expect((await vm.debug.registers()).rip).toBe(AT.start);
    await vm.resume();
    expect(await vm.wait()).toMatchObject({ kind: "off" });
  });

  it("says that a guest that waits cannot be stepped", { timeout: WAIT_MS }, async () => {
    await using vm = await create();
    await vm.debug.startPaused();
    await vm.debug.writeMemory(ENTRY, Uint8Array.of(0xf4));
    await vm.debug.step();
    await expect(vm.debug.step()).rejects.toThrow(/waits for an interrupt \(HLT\)/);
  });
});

/** A debugger that sends packets and waits for each answer. */
class Client {
  readonly #socket: Socket;
  readonly #reader = new GdbPacketReader();
  #answers: string[] = [];
  #wake: () => void = () => {};

  constructor(path: string) {
    this.#socket = createConnection(path);
    this.#socket.on("data", (bytes) => {
      for (const input of this.#reader.push(bytes)) if (input.kind === "packet") this.#answers.push(input.data);
      this.#wake();
    });
  }

  interrupt(): void {
    this.#socket.write("\x03");
  }

  async ask(packet: string): Promise<string> {
    this.#socket.write(gdbPacket(packet));
    return await this.answer();
  }

  async answer(): Promise<string> {
    while (this.#answers.length === 0)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return this.#answers.shift()!;
  }

  close(): void {
    this.#socket.destroy();
  }
}

describe("GDB's protocol", () => {
  it("reads and writes, stops and goes on; a VM that nobody debugs any more runs", { timeout: WAIT_MS }, async () => {
    await using vm = await create(2);
    await vm.debug.startPaused();
    const path = join(directory, "gdb");
    const server = await serveGdb(vm, { kind: "unix", path });
    const gdb = new Client(path);
    await server.attached;
    expect(await gdb.ask("qSupported:xmlRegisters=i386")).toContain("qXfer:features:read+");
    expect(await gdb.ask("qXfer:features:read:target.xml:0,40")).toMatch(/^m<\?xml/);
    expect([await gdb.ask("?"), await gdb.ask("qfThreadInfo"), await gdb.ask("Hg2")]).toEqual([
      "T05thread:1;",
      "m1,2",
      "OK",
    ]);
    expect([await gdb.ask("Hg1"), await gdb.ask("T3"), await gdb.ask("nothing")]).toEqual(["OK", "E01", ""]);
    const rip = (registers: string): bigint => Buffer.from(registers, "hex").readBigUInt64LE(16 * 8);
    expect(rip(await gdb.ask("g"))).toBe(AT.start);
    expect(await gdb.ask(`m${ENTRY.toString(16)},5`)).toBe("bb00000000");
    expect(await gdb.ask(`m${(1n << 40n).toString(16)},5`)).toBe("E01");
    expect(await gdb.ask("s")).toBe("T05thread:1;");
    expect(rip(await gdb.ask("g"))).toBe(AT.second);
    expect(await gdb.ask(`Z0,${AT.store.toString(16)},1`)).toBe("OK");
    expect(await gdb.ask("vCont;c")).toBe("T05thread:1;swbreak:;");
    expect(await gdb.ask("p1")).toBe("0100000000000000");
    expect([await gdb.ask("P1=0300000000000000"), await gdb.ask("p1")]).toEqual(["OK", "0300000000000000"]);
    expect(await gdb.ask(`z0,${AT.store.toString(16)},1`)).toBe("OK");
    expect(await gdb.ask(`Z2,${COUNT_AT.toString(16)},4`)).toBe("OK");
    expect(await gdb.ask("c")).toBe(`T05thread:1;watch:${COUNT_AT.toString(16)};`);
    expect(await gdb.ask(`M${COUNT_AT.toString(16)},2:0700`)).toBe("OK");
    expect(await gdb.ask(`m${COUNT_AT.toString(16)},4`)).toBe("07000000");
    gdb.close();
    expect(await vm.wait()).toMatchObject({ kind: "off" });
    await server.close();
  });

  it("interrupts a guest that runs on, and tells of its end", { timeout: WAIT_MS }, async () => {
    await using vm = await create();
    await vm.debug.startPaused();
    await vm.debug.writeMemory(ENTRY, Uint8Array.of(0xeb, 0xfe));
    const server = await serveGdb(vm, { kind: "tcp", port: 0 });
    expect(server.address).toMatchObject({ kind: "tcp", port: expect.any(Number) });
    await server.close();
    const path = join(directory, "gdb2");
    const local = await serveGdb(vm, { kind: "unix", path });
    const gdb = new Client(path);
    const stop = gdb.ask("c");
    await expect.poll(() => vm.state).toBe("running");
    gdb.interrupt();
    expect(await stop).toBe("T02thread:1;");
    expect(await gdb.ask(`X${ENTRY.toString(16)},2:\xbb\x04`)).toBe("OK");
    expect(await gdb.ask("c")).toBe("W00");
    await local.close();
  });

  const hasGdb = spawnSync("gdb", ["--version"]).status === 0;
  it.skipIf(!hasGdb)("is what GDB speaks", { timeout: 4 * WAIT_MS }, async () => {
    await using vm = await create();
    await vm.debug.startPaused();
    const path = join(directory, "gdb3");
    const server = await serveGdb(vm, { kind: "unix", path });
    const commands = [
      `target remote ${path}`,
      "stepi",
      `hbreak *0x${AT.store.toString(16)}`,
      "continue",
      'printf "count %d\\n", $ebx',
      `x/2i $pc`,
      "delete",
      `watch *(int*)0x${COUNT_AT.toString(16)}`,
      "continue",
      "info threads",
      "detach",
    ];
    const child = spawn("gdb", ["-nx", "-batch", ...commands.flatMap((command) => ["-ex", command])]);
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes: Buffer) => (text += bytes));
    await new Promise((resolve) => child.on("close", resolve));
    expect(text).toMatch(/count 1/);
    expect(text).toMatch(/mov +%ebx,\(%rax\)/);
    expect(text).toMatch(/Hardware watchpoint[\s\S]*New value = 1/);
    expect(text).toMatch(/vCPU 0/);
    expect(await vm.wait()).toMatchObject({ kind: "off" });
    await server.close();
  });
});

describe("--gdb", () => {
  /** A program that waits for GDB, which has come; `end`: its status, and the lines that it has written. */
  async function debugged(words: readonly string[], name: string) {
    const path = join(directory, name);
    const program = join(import.meta.dirname, "../../bin/twinmetal.mjs");
    const args = ["--kernel", join(directory, "kernel"), "--engine", "jit", "--serial", "null"];
    const run = spawn(process.execPath, [program, ...words, ...args, "--gdb", `unix:${path},wait`]);
    let text = "";
    for (const stream of [run.stdout, run.stderr]) stream.on("data", (bytes: Buffer) => (text += bytes));
    const status = new Promise((resolve) => run.on("close", resolve));
    await expect.poll(() => text, { timeout: 2 * WAIT_MS }).toContain(`The guest waits for GDB: target remote ${path}`);
    return { gdb: new Client(path), end: async () => [await status, text.split("\n").length] };
  }

  it("lets GDB have the guest from its first instruction on", { timeout: 3 * WAIT_MS }, async () => {
    const { gdb, end } = await debugged(["run", "-m", "16M"], "gdb4");
    expect(await gdb.ask("p10")).toBe("0002200000000000");
    expect(await gdb.ask("c")).toBe("W00");
    expect(await end()).toEqual([0, 2]);
  });

  it("lets GDB have a restored one from where it was saved on", { timeout: 3 * WAIT_MS }, async () => {
    const state = join(directory, "state");
    {
      await using vm = await create(2);
      await vm.debug.startPaused();
      await vm.debug.set({ software: [AT.store] });
      for (let i = 0; i < 2; i++) await vm.debug.continue({ timeoutMs: WAIT_MS });
      await vm.save(state);
    }
    const { gdb, end } = await debugged(["restore", state], "gdb5");
    expect([await gdb.ask("qfThreadInfo"), await gdb.ask("p1")]).toEqual(["m1,2", "0200000000000000"]);
    expect(await gdb.ask("p10")).toBe(
      `${AT.store.toString(16).padStart(8, "0").match(/../g)!.reverse().join("")}00000000`,
    );
    expect(await gdb.ask("s")).toBe("T05thread:1;");
    expect([await gdb.ask(`Z0,${AT.store.toString(16)},1`), await gdb.ask("c")]).toEqual([
      "OK",
      "T05thread:1;swbreak:;",
    ]);
    expect(await gdb.ask("p1")).toBe("0300000000000000");
    expect([await gdb.ask(`z0,${AT.store.toString(16)},1`), await gdb.ask("c")]).toEqual(["OK", "W00"]);
    expect(await end()).toEqual([0, 2]);
  });
});
