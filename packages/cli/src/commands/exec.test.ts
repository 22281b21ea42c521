import { EventEmitter } from "node:events";
import { expect, it } from "vitest";
import type { Io } from "../command.ts";
import { runProgram } from "../program.ts";

it("ends with the signal's status where it is told to end before the VM has answered, and says nothing", async () => {
  let signalled: (() => void) | undefined;
  let errors = "";
  const io = {
    stdin: new EventEmitter(),
    stdout: Object.assign(new EventEmitter(), { write: () => true }),
    stderr: Object.assign(new EventEmitter(), { write: (text: string) => void (errors += text) }),
    env: {},
    onSignal: (name: string, action: () => void) => {
      if (name === "SIGTERM") signalled = action;
      return () => {};
    },
    library: {
      askVm: async (_vm: string, _request: unknown, { signal }: { signal: AbortSignal }) => {
        signalled?.();
        signal.throwIfAborted();
      },
    },
  } as unknown as Io;
  expect(await runProgram(io, ["exec", "box", "--", "true"])).toBe(143);
  expect(errors).toBe("");
});
