/**
 * A VM on the kvm engine in a process that is locked down, by the program: as asked for, and as `auto` does by itself. One that
 * stays is cloned and saved there, and goes on.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { bareKernel, GUESTS } from "../../guest/bare-kernel.ts";
import { lapOf } from "./linux-commands.ts";

const DIRECTORY = "/tmp/sandbox";
/** Of one command, which may load the program several times, in a processor in software that may be shared. */
const TIMEOUT_MS = 900_000;

/** The program, which says at its end what rights it has had. */
function program(): string {
  mkdirSync(DIRECTORY, { recursive: true });
  const main = join(DIRECTORY, "main.mjs");
  const index = join(process.cwd(), "packages/cli/dist/program/cli/index.js");
  const reports = "process.on('exit', () => console.error(readFileSync('/proc/self/status', 'utf8')));";
  writeFileSync(
    main,
    `import { readFileSync } from "node:fs";\nimport { main } from ${JSON.stringify(index)};\n${reports}\nprocess.exit(await main(process.argv.slice(2)));\n`,
  );
  return main;
}

function kernel(name: "hello" | "echoing"): string {
  const path = join(DIRECTORY, name);
  writeFileSync(path, bareKernel(GUESTS[name]));
  return path;
}

it.each(["strict", "auto"])("--engine kvm --sandbox %s: runs a guest", { timeout: TIMEOUT_MS }, (choice) => {
  const args = [program(), "run", "--engine", "kvm", "--sandbox", choice, "--memory", "64M", "--kernel"];
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [...args, kernel("hello")], {
    encoding: "utf8",
    timeout: TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  expect([status, signal, stdout]).toEqual([0, null, "hello, world\n"]);
  expect(stderr).not.toContain("sandbox:");
  expect(stderr).toMatch(/^Seccomp:\s*2$/m);
  expect(stderr).toMatch(/^CapEff:\s*0+$/m);
  expect(stderr).toMatch(/^Uid:\s*\d{10}\s/m);
});

const lap = lapOf();
const HOME = join(DIRECTORY, "home");
const fileOf = (vm: string, name: string): string => join(HOME, "vms", vm, name);

function twinmetal(...args: readonly string[]): string {
  const env = { ...process.env, TWINMETAL_HOME: HOME };
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [program(), ...args], {
    ...{ env, encoding: "utf8", timeout: TIMEOUT_MS, killSignal: "SIGKILL" },
  });
  if (status !== 0) throw new Error(`${args.join(" ")}: ${signal ?? status}: ${stderr}`);
  lap(args[0]!);
  return stdout;
}

async function written(vm: string, text: string): Promise<void> {
  const path = fileOf(vm, "console.log");
  for (const deadlineMs = performance.now() + TIMEOUT_MS; ; await sleep(100)) {
    const found = existsSync(path) ? readFileSync(path, "latin1") : "";
    if (found.includes(text)) return;
    if (performance.now() > deadlineMs) throw new Error(`${vm} has not written ${text}: ${found}`);
  }
}

/** It echoes what is typed. */
async function echoes(vm: string, text: string): Promise<void> {
  const socket = connect(fileOf(vm, "control"));
  const input = Buffer.from(text).toString("base64");
  socket.write(`${JSON.stringify({ command: "console" })}\n${JSON.stringify({ input })}\n`);
  await written(vm, text);
  socket.destroy();
}

it("auto: a VM that stays is cloned while it runs, saved, and goes on", { timeout: 5 * TIMEOUT_MS }, async () => {
  mkdirSync(DIRECTORY, { recursive: true });
  twinmetal("run", "-d", "--name", "box", "--engine", "kvm", "--memory", "64M", "--kernel", kernel("echoing"));
  await written("box", "ready");
  const { engine, isSandboxed } = JSON.parse(twinmetal("show", "box", "--json")) as Record<string, unknown>;
  expect([engine, isSandboxed]).toEqual(["kvm", true]);
  expect(twinmetal("clone", "box", "copy")).toBe("copy: saved\n");
  await echoes("box", "one");
  expect(twinmetal("save", "box")).toBe("box: saved\n");
  expect(twinmetal("start", "box", "copy")).toBe("box: running\ncopy: running\n");
  await echoes("box", "two");
  await echoes("copy", "three");
  twinmetal("rm", "--force", "box");
  twinmetal("rm", "--force", "copy");
});
