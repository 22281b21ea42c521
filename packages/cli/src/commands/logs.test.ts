import { EventEmitter } from "node:events";
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import type { Io } from "../command.ts";
import { runProgram } from "../program.ts";

function setUp() {
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-logs-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const seen = { out: "", err: "" };
  let interrupt = (): void => {};
  const stream = (what: "out" | "err") =>
    Object.assign(new EventEmitter(), {
      write: (part: Uint8Array | string) => {
        seen[what] += Buffer.from(part as string).toString();
        return true;
      },
    });
  const io = {
    stdin: new EventEmitter(),
    stdout: stream("out"),
    stderr: stream("err"),
    env: {},
    onSignal: (name: string, listener: () => void) => {
      if (name === "SIGINT") interrupt = listener;
      return () => {};
    },
    library: {
      NamedVms: class {
        readonly store = {
          folder: () => ({ path: folder, console: join(folder, "console"), log: join(folder, "log") }),
        };
        readonly observe = async () => ({});
      },
    },
  } as unknown as Io;
  return {
    seen,
    folder,
    run: (...args: string[]) => runProgram(io, ["logs", "box", ...args]),
    interrupt: () => interrupt(),
    append: (text: string) => appendFileSync(join(folder, "console"), text),
  };
}

it("says of a VM that has never run that it has not, and prints what was written", async () => {
  const { run, seen, append } = setUp();
  expect(await run()).toBe(0);
  expect(seen).toEqual({ out: "", err: "twinmetal: VM box has never run: nothing is written yet.\n" });
  append("hello\n");
  expect(await run()).toBe(0);
  expect(seen.out).toBe("hello\n");
});

it("follows: waits for the first start, goes on, and ends at Ctrl-C", async () => {
  const { run, seen, append, interrupt } = setUp();
  const status = run("--follow");
  await vi.waitFor(() => expect(seen.err).toContain("has never run: what it writes is waited for"));
  append("first ");
  await vi.waitFor(() => expect(seen.out).toBe("first "));
  append("second");
  await vi.waitFor(() => expect(seen.out).toBe("first second"));
  interrupt();
  expect(await status).toBe(0);
  expect(seen.err.split("\n")).toHaveLength(2);
});

it.each([true, false])("follows no more when the VM is removed (has run: %s)", async (hasRun) => {
  const { run, append, seen, folder } = setUp();
  if (hasRun) append("last words");
  const status = run("-f");
  await vi.waitFor(() => expect(hasRun ? seen.out : seen.err).not.toBe(""));
  rmSync(folder, { recursive: true });
  expect(await status).toBe(0);
});
