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

it("says that it waits for a guest that starts, and takes that away", async () => {
  let errors = "";
  const stream = (isTTY: boolean) => {
    const write = (text: string, done?: () => void): boolean => {
      errors += text;
      done?.();
      return true;
    };
    return Object.assign(new EventEmitter(), { isTTY, write });
  };
  const askVm = async (_vm: string, _request: unknown, { onSaving }: { onSaving: (progress: object) => void }) => {
    onSaving({ phase: "agent", done: 0, total: 1 });
    await new Promise((resolve) => setTimeout(resolve, 1200));
    onSaving({ phase: "agent", done: 1, total: 1 });
    return 7;
  };
  const io = {
    stdin: new EventEmitter(),
    stdout: stream(false),
    stderr: stream(true),
    env: {},
    onSignal: () => () => {},
    library: { askVm },
  } as unknown as Io;
  expect(await runProgram(io, ["exec", "box", "--", "true"])).toBe(7);
  expect(errors).toMatch(/^\rtwinmetal: waiting for the guest to start: \d+ s\x1b\[K\r\x1b\[K$/);
});
