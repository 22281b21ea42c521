import { describe, expect, it } from "vitest";
import type { Io } from "../command.ts";
import { runProgram } from "../program.ts";
import type { ControlRequest, MemoryAnswer } from "../vm-library.ts";

function setUp(answer: MemoryAnswer) {
  const asked: ControlRequest[] = [];
  const text = { out: "", err: "" };
  const io = {
    stdout: { write: (part: string) => void (text.out += part) },
    stderr: { write: (part: string) => void (text.err += part) },
    env: {},
    library: {
      askVm: async (_socket: string, request: ControlRequest) => {
        asked.push(request);
        return answer;
      },
    },
  } as unknown as Io;
  return { asked, text, run: (...args: string[]) => runProgram(io, ["balloon", ...args]) };
}

describe("balloon", () => {
  it("asks for a size, or for statistics", async () => {
    const { run, asked, text } = setUp({
      balloonBytes: 2 ** 30,
      isBalloonAutomatic: true,
      notGivenBack: null,
      statistics: { freeBytes: 3 * 2 ** 20, majorFaults: 7 },
    });
    expect(await run("vm.sock", "1G")).toBe(0);
    expect(await run("vm.sock", "auto")).toBe(0);
    expect(await run("vm.sock")).toBe(0);
    expect(asked).toEqual([
      { command: "balloon", bytes: 2 ** 30 },
      { command: "balloon", bytes: "auto" },
      { command: "memory" },
    ]);
    expect(text.out).toContain("balloonBytes        1 GiB (auto)\n");
    expect(text.out).toContain("freeBytes           3 MiB\n");
    expect(text.out).toContain("majorFaults         7\n");
  });

  it("says when the host gets nothing of it", async () => {
    const { run, text } = setUp({ balloonBytes: 4096, isBalloonAutomatic: false, notGivenBack: "It stays." });
    expect(await run("vm.sock", "4K")).toBe(0);
    expect(text.out).toMatch(/It stays\.\n$/);
    text.out = "";
    expect(await run("vm.sock", "--json")).toBe(0);
    expect(JSON.parse(text.out)).toEqual({ balloonBytes: 4096, isBalloonAutomatic: false, notGivenBack: "It stays." });
  });

  it("wants one size", async () => {
    const { run, text } = setUp({ balloonBytes: 0, isBalloonAutomatic: false, notGivenBack: null });
    expect([await run(), await run("vm.sock", "much"), await run("vm.sock", "1G", "2G")]).toEqual([2, 2, 2]);
    expect(text.err).toContain("is not a size");
  });
});
