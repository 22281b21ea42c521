import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openSerialSink, parseSerialTarget } from "./serial-target.ts";
import type { Vm } from "./vm-library.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "twinmetal-serial-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** A VM with a serial port and nothing else. */
function fakeVm() {
  const queue: Uint8Array[] = [];
  const typed: string[] = [];
  let wake = (): void => {};
  let hasEnded = false;
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    while (queue.length === 0 && !hasEnded) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    const value = queue.shift();
    return value ? { value, done: false } : { value: undefined, done: true };
  };
  const serial = {
    output: { [Symbol.asyncIterator]: () => ({ next }) },
    write: async (bytes: Uint8Array) => void typed.push(Buffer.from(bytes).toString()),
  };
  return {
    vm: { serial } as unknown as Vm,
    typed,
    say: (text: string) => {
      queue.push(Buffer.from(text));
      wake();
    },
    end: () => {
      hasEnded = true;
      wake();
    },
  };
}

describe("--serial", () => {
  it("names a place", () => {
    expect(parseSerialTarget("null")).toEqual({ kind: "null" });
    expect(parseSerialTarget("file=a=b")).toEqual({ kind: "file", path: "a=b" });
    for (const text of ["", "file=", "file", "tcp=1", "STDIO"])
      expect(() => parseSerialTarget(text)).toThrow(/stdio, null, file=PATH or socket=PATH/);
  });

  it("writes a file, to the last byte", async () => {
    const { vm, say, end } = fakeVm();
    const path = join(directory, "console");
    const sink = await openSerialSink(vm, { kind: "file", path });
    say("one\r\n");
    say("two\r\n");
    end();
    await sink.close();
    expect(await readFile(path, "utf8")).toBe("one\r\ntwo\r\n");
  });

  it("says which file it cannot write", async () => {
    const path = join(directory, "none", "console");
    await expect(openSerialSink(fakeVm().vm, { kind: "file", path })).rejects.toThrow(/cannot be written to .*ENOENT/);
  });

  it("serves one client of a socket at a time, and leaves no socket behind", async () => {
    const { vm, say, end, typed } = fakeVm();
    const path = join(directory, "socket");
    const sink = await openSerialSink(vm, { kind: "socket", path });
    const first = connect(path);
    await new Promise((resolve) => first.once("connect", resolve));
    first.write("ls\r");
    while (typed.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const second = connect(path);
    expect(String(await new Promise((resolve) => second.once("data", resolve)))).toContain("Somebody else");
    say("hello");
    expect(String(await new Promise((resolve) => first.once("data", resolve)))).toBe("hello");
    end();
    await sink.close();
    expect(typed).toEqual(["ls\r"]);
    await expect(readFile(path)).rejects.toThrow(/ENOENT/);
  });

  it("takes over a socket that nobody serves, and no other file", async () => {
    const path = join(directory, "socket");
    await writeFile(path, "precious");
    await expect(openSerialSink(fakeVm().vm, { kind: "socket", path })).rejects.toThrow(/cannot be opened/);
    expect(await readFile(path, "utf8")).toBe("precious");
    const served = join(directory, "served");
    const server = createServer(() => {}).listen(served);
    await new Promise((resolve) => server.once("listening", resolve));
    await expect(openSerialSink(fakeVm().vm, { kind: "socket", path: served })).rejects.toThrow(/in use/);
    server.close();
  });
});
