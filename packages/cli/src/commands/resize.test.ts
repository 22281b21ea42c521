import { expect, it } from "vitest";
import type { Io } from "../command.ts";
import { runProgram } from "../program.ts";
import type { ControlRequest } from "../vm-library.ts";

function setUp() {
  const asked: ControlRequest[] = [];
  const text = { out: "", err: "" };
  const io = {
    stdout: { write: (part: string) => void (text.out += part) },
    stderr: { write: (part: string) => void (text.err += part) },
    env: {},
    library: {
      askVm: async (_socket: string, request: ControlRequest) => {
        asked.push(request);
        return { sizeBytes: 2 ** 30 };
      },
    },
  } as unknown as Io;
  return { asked, text, run: (...args: string[]) => runProgram(io, ["resize", ...args]) };
}

it("asks for a size, and tells what the VM has then", async () => {
  const { run, asked, text } = setUp();
  expect(await run("vm.sock", "1G")).toBe(0);
  expect(await run("vm.sock", "1G", "--json")).toBe(0);
  expect(asked).toEqual([1, 2].map(() => ({ command: "resize", bytes: 2 ** 30 })));
  expect(text.out).toBe('1 GiB\n{"sizeBytes":1073741824}\n');
});

it("wants a socket and one size", async () => {
  const { run, text } = setUp();
  const statuses = [await run(), await run("vm.sock"), await run("vm.sock", "much"), await run("vm.sock", "1G", "2G")];
  expect(statuses).toEqual([2, 2, 2, 2]);
  expect(text.err).toContain("how much memory? Give a size");
});
