import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Io } from "./command.ts";
import { runProgram } from "./program.ts";
import { type ControlRequest, VM_LIBRARY, VmStore } from "./vm-library.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tm-set-"));
  vi.stubEnv("TWINMETAL_HOME", directory);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true, force: true });
});

async function run(...args: string[]): Promise<{ status: number; out: string; err: string; asked: ControlRequest[] }> {
  const text = { out: "", err: "" };
  const asked: ControlRequest[] = [];
  const io = {
    stdin: new PassThrough(),
    stdout: { write: (part: string) => void (text.out += part) },
    stderr: { write: (part: string) => void (text.err += part) },
    env: { TWINMETAL_HOME: directory, XDG_CONFIG_HOME: directory, PATH: directory },
    onSignal: () => () => {},
    library: { ...VM_LIBRARY, askVm: async (_vm: string, request: ControlRequest) => void asked.push(request) },
  } as unknown as Io;
  return { status: await runProgram(io, args), ...text, asked };
}

it("changes what a VM that stays is made of", async () => {
  await run("create", "--name", "box", "--ttl", "1h", "--on-poweroff", "restart");
  const { out, asked } = await run("set", "box", "on-crash=pause", "on-poweroff=stop", "on-reboot=stop", "ttl=2h");
  expect(out).toMatch(/^on-crash +pause\non-poweroff +stop\non-reboot +stop\nlives until +20\S+Z \(/);
  expect(asked).toEqual([]);
  const spec = await new VmStore().read("box");
  expect(spec.options).toEqual({ "on-crash": "pause", "on-poweroff": "stop", "on-reboot": "stop" });
  expect(Date.parse(spec.expiresAt!)).toBeGreaterThan(Date.now() + 3_600_000);
  expect(JSON.parse((await run("set", "box", "ttl=none", "autostart=on", "--json")).out)).toEqual({
    kept: { "lives until": "it is removed", autostart: "on" },
  });
  const { expiresAt, options } = await new VmStore().read("box");
  expect([expiresAt, options["autostart"]]).toEqual([undefined, true]);
});

it("refuses what cannot be, and changes nothing then", async () => {
  await run("create", "--name", "box", "--record", "a.rec");
  for (const [words, why] of [
    [["on-crash=maybe"], "not one of stop, restart, pause"],
    [["on-crash=restart"], "--record is of one run"],
    [["ttl=soon"], "is not a time"],
    [["autostart=maybe"], "on or off"],
    [["on-crash=stop", "speed=3"], "ttl, autostart"],
  ] as const) {
    const { status, err } = await run("set", "box", ...words);
    expect(status).toBe(2);
    expect(err).toContain(why);
  }
  expect((await run("set", "nobody", "ttl=1h")).err).toContain("there is no VM nobody that stays");
  expect((await new VmStore().read("box")).options).toEqual({ record: "a.rec" });
});
