import { EventEmitter } from "node:events";
import type { CloneVmOptions } from "@twinmetal/host";
import { expect, it } from "vitest";
import type { Io } from "../command.ts";
import { runProgram } from "../program.ts";
import type { VmSpec } from "../vm-library.ts";

async function clone(options: VmSpec["options"], state: string) {
  const text = { out: "", err: "" };
  let spec: CloneVmOptions["spec"] | undefined;
  class NamedVms {
    store = { read: async () => ({ directory: "/", options }) };
    async clone(_name: string, name: string, given: CloneVmOptions) {
      spec = given.spec;
      return { name, state };
    }
  }
  const io = {
    stdin: new EventEmitter(),
    stdout: { write: (part: string) => void (text.out += part) },
    stderr: { write: (part: string) => void (text.err += part) },
    env: {},
    onSignal: () => () => {},
    library: { NamedVms },
  } as unknown as Io;
  const status = await runProgram(io, ["clone", "box", "copy"]);
  return { status, options: spec?.options, ...text };
}

it("gives a clone addresses of its own, and tells what is not taken over", async () => {
  const net = ["switch=lab,mac=52:54:00:00:00:01,mtu=9000", "user"];
  expect(await clone({ net, memory: "64M", forward: ["2222:22"] }, "off")).toEqual({
    status: 0,
    options: { net: ["switch=lab,mtu=9000", "user"], memory: "64M" },
    out: "copy: off\n",
    err: "twinmetal: not taken over: --forward.\ntwinmetal: not taken over: mac= of --net.\n",
  });
});

it("warns of a clone that goes on from a state at the same switch", async () => {
  const { err, options } = await clone({ net: ["switch=lab"] }, "saved");
  expect(err).toMatch(/^twinmetal: copy goes on from a state, with the network addresses of box: at the switch lab /);
  expect(options).toEqual({ net: ["switch=lab"] });
  expect((await clone({ net: ["switch=lab"] }, "off")).err).toBe("");
  expect((await clone({ net: ["user"] }, "saved")).err).toBe("");
});
