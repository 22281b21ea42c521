import { EventEmitter } from "node:events";
import { expect, it } from "vitest";
import type { Io } from "../command.ts";
import { runProgram } from "../program.ts";

const RESULT = { files: 1, folders: 0, links: 0, sizeBytes: 3, leftOut: ["d/null"] };

function setUp() {
  const calls: unknown[][] = [];
  const text = { out: "", err: "" };
  const copy =
    (name: string) =>
    async (...[vm, paths, target, { maxBytes }]: [string, string[], string, { maxBytes?: number }]) => {
      calls.push([name, vm, paths, target, maxBytes]);
      return RESULT;
    };
  const io = {
    stdin: new EventEmitter(),
    stdout: { write: (part: string) => void (text.out += part) },
    stderr: { write: (part: string) => void (text.err += part) },
    env: {},
    onSignal: () => () => {},
    library: { copyFromVm: copy("from"), copyToVm: copy("to") },
  } as unknown as Io;
  return { calls, text, run: (...args: string[]) => runProgram(io, args) };
}

it("goes the way on whose side the VM is", async () => {
  const { run, calls, text } = setUp();
  expect(await run("cp", "a", "./b:c", "box:/srv/")).toBe(0);
  expect(await run("cp", "box:/a", "box:/b:c", "here", "--max-size", "1K", "--json")).toBe(0);
  expect(calls).toEqual([
    ["to", "box", ["a", "./b:c"], "/srv/", undefined],
    ["from", "box", ["/a", "/b:c"], "here", 1024],
  ]);
  expect(text).toEqual({ out: `${JSON.stringify(RESULT)}\n`, err: "twinmetal: left out: d/null\n".repeat(2) });
});

it.each([
  [["a"], "what, and where to?"],
  [["a", "b"], "which VM?"],
  [["a", "box:b"], "absolute, as in box:/srv/b"],
  [["a:/x", "b:/x", "here"], "of one VM, a."],
  [["a:/x", "b:/x"], "from one VM into another?"],
  [["a:/x", "b", "here"], "of one VM, a."],
])("%j is refused", async (words, why) => {
  const { run, calls, text } = setUp();
  expect(await run("cp", ...words)).toBe(2);
  expect(text.err).toContain(why);
  expect(calls).toEqual([]);
});
