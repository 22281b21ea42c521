import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

import type { Io } from "../command.ts";
import { runProgram } from "../program.ts";
import { autostartUnitName, VM_LIBRARY } from "../vm-library.ts";

let directory = "";
let env: Record<string, string>;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tm-auto-"));
  vi.stubEnv("TWINMETAL_HOME", join(directory, "home"));
  env = {
    TWINMETAL_HOME: join(directory, "home"),
    XDG_CONFIG_HOME: join(directory, "config"),
    PATH: join(directory, "bin"),
  };
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true, force: true });
});

/** Writes down what it is told, and answers with that. */
function fakeSystemctl(answer: string, status = 0): void {
  mkdirSync(join(directory, "bin"), { recursive: true });
  const path = join(directory, "bin", "systemctl");
  const log = join(directory, "asked");
  writeFileSync(
    path,
    `#!/bin/sh\necho "$*" >>"${log}"\necho "${answer}" ${status === 0 ? "" : ">&2"}\nexit ${status}\n`,
  );
  chmodSync(path, 0o755);
}

function asked(): string[] {
  const path = join(directory, "asked");
  const lines = existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
  rmSync(path, { force: true });
  return lines;
}

async function run(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  const text = { out: "", err: "" };
  const io = {
    stdin: new PassThrough(),
    stdout: { write: (part: string) => void (text.out += part) },
    stderr: { write: (part: string) => void (text.err += part) },
    env,
    onSignal: () => () => {},
    library: VM_LIBRARY,
  } as unknown as Io;
  return { status: await runProgram(io, args), ...text };
}

it("marks VMs, and has one unit as long as one is marked", async () => {
  fakeSystemctl("enabled");
  const name = autostartUnitName(env);
  const unit = join(directory, "config", "systemd", "user", name);
  await run("create", "--name", "box");
  expect((await run("create", "--name", "web", "--autostart")).out).toBe("web\n");
  expect(asked()).toEqual(["--user daemon-reload", `--user enable ${name}`]);
  const text = readFileSync(unit, "utf8");
  expect(text).toMatch(/^ExecStart=-\S+ .*autostart start$/m);
  expect(text).toContain(`Environment=TWINMETAL_HOME=${env["TWINMETAL_HOME"]}\n`);
  expect(await run("autostart", "enable", "box")).toMatchObject({ status: 0, out: "box: starts by itself\n" });
  asked();
  expect(JSON.parse((await run("autostart", "status", "--json")).out)).toMatchObject({
    vms: [
      { name: "box", state: "off" },
      { name: "web", state: "off" },
    ],
    unit,
    isWritten: true,
    enabled: "enabled",
  });
  expect((await run("show", "box")).out).toContain("--autostart");
  await run("clone", "box", "copy");
  expect((await run("autostart", "disable", "box", "web")).status).toBe(0);
  expect(asked()).toEqual([`--user is-enabled ${name}`, `--user disable ${name}`, "--user daemon-reload"]);
  expect(existsSync(unit)).toBe(false);
  const { out } = await run("autostart", "status");
  expect(out).toContain(": not written\n");
  expect(out).toContain("no VM is marked");
});

it("works without systemd, and says so", async () => {
  await run("create", "--name", "box");
  const { status, err } = await run("autostart", "enable", "box");
  expect(status).toBe(0);
  expect(err).toContain("there is no systemctl here");
  expect(err).toContain("boot script run: twinmetal autostart start");
  fakeSystemctl("Failed to connect to bus: No medium found", 1);
  expect((await run("autostart", "enable", "box")).err).toContain("Failed to connect to bus: No medium found.");
  expect((await run("autostart", "status")).out).toContain("written, but systemctl says: Failed to connect");
});

it("says what is wrong", async () => {
  expect(await run("autostart")).toMatchObject({ status: 2 });
  expect(await run("autostart", "enable")).toMatchObject({ status: 2 });
  expect(await run("autostart", "start", "box")).toMatchObject({ status: 2 });
  expect((await run("autostart", "enable", "nobody")).err).toContain("There is no VM nobody.");
  expect((await run("run", "--autostart")).err).toContain("give -d, too");
  expect(existsSync(join(directory, "config"))).toBe(false);
});

it("start and stop leave alone what is in no state for it", async () => {
  await run("create", "--name", "box");
  expect(await run("autostart", "start")).toEqual({ status: 0, out: "", err: "" });
  await run("autostart", "enable", "box");
  expect(await run("autostart", "stop")).toEqual({ status: 0, out: "", err: "" });
});
