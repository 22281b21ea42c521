import { EventEmitter } from "node:events";
import { resolve } from "node:path";
import { expect, it } from "vitest";
import type { Io } from "../command.ts";
import { runProgram } from "../program.ts";
import type { ControlRequest } from "../vm-library.ts";

function setUp() {
  const asked: [string, ControlRequest][] = [];
  const io = {
    stdin: new EventEmitter(),
    stdout: { write: () => {} },
    stderr: { write: () => {} },
    env: {},
    onSignal: () => () => {},
    library: {
      askVm: async (socket: string, request: ControlRequest) => void asked.push([socket, request]),
    },
  } as unknown as Io;
  return { asked, run: (...args: string[]) => runProgram(io, args) };
}

it("discs are asked for by the VM's socket", async () => {
  const { asked, run } = setUp();
  expect(await run("eject", "vm.sock", "disk1")).toBe(0);
  expect(await run("insert", "vm.sock", "disk1", "a.iso", "--force")).toBe(0);
  expect(asked).toEqual([
    ["vm.sock", { command: "eject", disk: "disk1", force: false }],
    ["vm.sock", { command: "insert", disk: "disk1", path: resolve("a.iso"), force: true }],
  ]);
});

it("a network card comes into a bay and leaves it", async () => {
  const { asked, run } = setUp();
  expect(await run("insert", "box", "net1", "switch=lab")).toBe(0);
  expect(await run("insert", "box", "net1", "socket=wire")).toBe(0);
  expect(await run("eject", "box", "net1")).toBe(0);
  expect(asked).toEqual([
    ["box", { command: "plug", card: "net1", network: { to: "switch", name: "lab" } }],
    ["box", { command: "plug", card: "net1", network: { to: "socket", path: resolve("wire") } }],
    ["box", { command: "unplug", card: "net1" }],
  ]);
  for (const network of ["none", "switch=lab,mtu=9000", "user,mac=52:54:00:12:34:56", "data.img"])
    expect(await run("insert", "box", "net1", network)).toBe(2);
  expect(asked).toHaveLength(3);
});

it("a network card in a bay may lead to a user network, with its rules, its ports and its files", async () => {
  const { asked, run } = setUp();
  const rules = ["--allow", "example.org:443", "-p", "2222:22", "--net-log", "log"];
  expect(await run("insert", "box", "net1", "user,tftp=boot,bootfile=a.ipxe,loss=1%", ...rules)).toBe(0);
  expect(await run("insert", "box", "net1", "user", "--allow", "all")).toBe(0);
  const network = {
    to: "user",
    allow: ["example.org:443"],
    forwards: [{ hostPort: 2222, guestPort: 22 }],
    log: resolve("log"),
    tftp: resolve("boot"),
    bootFile: "a.ipxe",
    limits: { toGuest: { loss: 0.01 }, fromGuest: { loss: 0.01 } },
  };
  expect(asked).toEqual([
    ["box", { command: "plug", card: "net1", network }],
    ["box", { command: "plug", card: "net1", network: { to: "user", egress: "open" } }],
  ]);
  expect(await run("insert", "box", "net1", "switch=lab", "--allow", "host")).toBe(2);
  expect(await run("insert", "box", "disk1", "a.img", "-p", "2222:22")).toBe(2);
  expect(asked).toHaveLength(2);
});

it("what is missing or too much is bad usage", async () => {
  const { asked, run } = setUp();
  for (const args of [
    ["eject", "vm.sock"],
    ["insert", "vm.sock", "disk1"],
    ["insert", "a", "b", "c", "d"],
  ])
    expect(await run(...args)).toBe(2);
  expect(asked).toEqual([]);
});
