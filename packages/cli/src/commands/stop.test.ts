import { EventEmitter } from "node:events";
import { expect, it } from "vitest";
import type { Io } from "../command.ts";
import { runProgram } from "../program.ts";
import type { ControlRequest } from "../vm-library.ts";

function setUp() {
  const asked: [string, ControlRequest][] = [];
  let err = "";
  let out = "";
  const io = {
    stdin: new EventEmitter(),
    stdout: { write: (part: string) => void (out += part) },
    stderr: { write: (part: string) => void (err += part) },
    env: {},
    onSignal: () => () => {},
    library: {
      NamedVms: class {
        readonly store = { has: async (name: string) => name === "box" };
        readonly stop = async (name: string) => ({ name, state: "off" });
      },
      askVm: async (socket: string, request: ControlRequest) => void asked.push([socket, request]),
    },
  } as unknown as Io;
  return { asked, err: () => err, out: () => out, run: (...args: string[]) => runProgram(io, args) };
}

it("asks the VM to turn off, for a minute or as long as is said", async () => {
  const { run, asked } = setUp();
  expect(await run("stop", "vm.sock")).toBe(0);
  expect(await run("stop", "vm.sock", "--timeout", "5m", "--force")).toBe(0);
  expect(asked).toEqual([
    ["vm.sock", { command: "stop", timeoutMs: 60_000, force: false }],
    ["vm.sock", { command: "stop", timeoutMs: 300_000, force: true }],
  ]);
});

it("stops several, by name or socket", async () => {
  const { run, asked, out } = setUp();
  expect(await run("stop", "box", "vm.sock", "--json")).toBe(0);
  expect(asked.map(([socket]) => socket)).toEqual(["vm.sock"]);
  expect(out()).toBe('{"name":"box","state":"off"}\n{"name":"vm.sock","state":"off"}\n');
});

it("needs one, and no command", async () => {
  const { run, err } = setUp();
  expect(await run("stop")).toBe(2);
  expect(err()).toContain("which VM?");
  expect(await run("stop", "vm.sock", "--", "now")).toBe(2);
});
