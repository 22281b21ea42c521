import { EventEmitter } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Io } from "../command.ts";
import { runProgram } from "../program.ts";
import type { ControlRequest } from "../vm-library.ts";

const folder = mkdtempSync(join(tmpdir(), "twinmetal-screen-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function setUp(answer: unknown = null) {
  const asked: [string, ControlRequest][] = [];
  const text = { out: "", err: "" };
  const io = {
    stdin: new EventEmitter(),
    stdout: { write: (part: string) => void (text.out += part) },
    stderr: { write: (part: string) => void (text.err += part) },
    env: {},
    onSignal: () => () => {},
    library: {
      askVm: async (socket: string, request: ControlRequest) => {
        asked.push([socket, request]);
        return answer;
      },
    },
  } as unknown as Io;
  return { asked, text, run: (...args: string[]) => runProgram(io, args) };
}

describe("screenshot", () => {
  it("writes the picture, or prints the text", async () => {
    const { run, text, asked } = setUp({
      text: ["login: ", "", ""],
      pngBase64: Buffer.from("picture").toString("base64"),
    });
    const path = join(folder, "screen.png");
    expect(await run("screenshot", "vm.sock", path)).toBe(0);
    expect(readFileSync(path, "latin1")).toBe("picture");
    expect(await run("screenshot", "vm.sock", "--text")).toBe(0);
    expect(text.out).toBe("login:\n");
    expect(asked[0]).toEqual(["vm.sock", { command: "screen" }]);
  });

  it("says where a picture cannot be written", async () => {
    const { run, text } = setUp({ text: null, pngBase64: "" });
    expect(await run("screenshot", "vm.sock", join(folder, "nowhere", "a.png"))).toBe(125);
    expect(text.err).toMatch(
      /^twinmetal: The picture cannot be written to .*a\.png \(ENOENT\)\. Name another file\.\n$/,
    );
    expect(await run("screenshot", "vm.sock", folder)).toBe(125);
    expect(text.err).toContain("(EISDIR)");
  });

  it("says that graphics have no text, and asks for what is missing", async () => {
    const { run, text } = setUp({ text: null, pngBase64: "" });
    expect(await run("screenshot", "vm.sock", "--text")).toBe(125);
    expect(text.err).toContain("Give the name of a PNG file");
    expect(await run("screenshot", "vm.sock")).toBe(2);
    expect(await run("screenshot", "vm.sock", "a.png", "--text")).toBe(2);
    expect(await run("screenshot")).toBe(2);
  });
});

describe("type", () => {
  it("hands on a text with its layout, or keys one after the other", async () => {
    const { run, asked } = setUp();
    expect(await run("type", "vm.sock", "ls -l\n")).toBe(0);
    expect(await run("type", "vm.sock", "안녕", "--layout", "kr")).toBe(0);
    expect(await run("type", "vm.sock", "--keys", "down  ctrl-c")).toBe(0);
    expect(asked.map(([, request]) => request)).toEqual([
      { command: "type", text: "ls -l\n", layout: "us" },
      { command: "type", text: "안녕", layout: "kr" },
      { command: "press", keys: "down" },
      { command: "press", keys: "ctrl-c" },
    ]);
  });

  it("wants one text", async () => {
    const { run, text } = setUp();
    expect(await run("type", "vm.sock")).toBe(2);
    expect(await run("type", "vm.sock", "two", "words")).toBe(2);
    expect(text.err).toContain("put the text in quotes");
    expect(await run("type", "vm.sock", "a", "--layout", "xx")).toBe(2);
  });
});
