/**
 * QEMU with a software processor that has AMD's SVM: the machine in which KVM runs. One process, no network, no disk, no
 * monitor; the first UART is the kernel's console and goes to a file, the second carries the report. It never outlives
 * this process: it is killed at every exit, and a parent that is killed itself takes it along (PR_SET_PDEATHSIG by
 * `setpriv`, where util-linux is there).
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createInterface } from "node:readline";
import type { QemuVersion } from "./deviations.ts";

export interface OuterMachine {
  readonly kernelPath: string;
  readonly initrdPath: string;
  readonly consolePath: string;
  readonly commandLine: string;
  readonly memoryMib: number;
  readonly cpu: string;
  readonly cpus: number;
}

export const QEMU = "qemu-system-x86_64";

/** What SVM needs of the model. EPYC is the one nearest to real hardware that TCG can be. */
export const CPU_MODEL = "EPYC,+svm,+npt";

export function hasQemu(): boolean {
  return spawnSync(QEMU, ["--version"], { stdio: "ignore" }).status === 0;
}

export function qemuVersion(): QemuVersion | undefined {
  const { stdout } = spawnSync(QEMU, ["--version"], { encoding: "utf8" });
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(stdout ?? "") ?? [];
  return major === undefined ? undefined : [Number(major), Number(minor)];
}

/** Calls back with each line of the report; resolves when QEMU has ended, with what it complained of. */
export async function runOuterMachine(
  machine: OuterMachine,
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<{ readonly status: number | string; readonly complaints: string }> {
  signal.throwIfAborted();
  const args = [
    ...["-no-user-config", "-nodefaults", "-no-reboot", "-display", "none", "-monitor", "none"],
    ...["-accel", "tcg", "-cpu", machine.cpu, "-smp", String(machine.cpus), "-m", String(machine.memoryMib)],
    ...["-kernel", machine.kernelPath, "-initrd", machine.initrdPath, "-append", machine.commandLine],
    ...["-serial", `file:${machine.consolePath}`, "-serial", "stdio"],
  ];
  const [program, ...all] = [...dieWithParent(), QEMU, ...args];
  const child = spawn(program!, all, { stdio: ["ignore", "pipe", "pipe"] });
  const end = (): void => void child.kill("SIGKILL");
  process.once("exit", end);
  signal.addEventListener("abort", end, { once: true });
  try {
    return await watch(child, onLine);
  } finally {
    process.removeListener("exit", end);
    signal.removeEventListener("abort", end);
    signal.throwIfAborted();
  }
}

async function watch(
  child: ChildProcess,
  onLine: (line: string) => void,
): Promise<{ status: number | string; complaints: string }> {
  let complaints = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    complaints = (complaints + text).slice(0, 20_000);
  });
  createInterface({ input: child.stdout!, crlfDelay: Number.POSITIVE_INFINITY }).on("line", onLine);
  const status = await new Promise<number | string>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, by) => resolve(code ?? by ?? "unknown"));
  });
  return { status, complaints };
}

function dieWithParent(): string[] {
  const isThere = spawnSync("setpriv", ["--pdeathsig", "KILL", "true"], { stdio: "ignore" }).status === 0;
  return isThere ? ["setpriv", "--pdeathsig", "KILL", "--"] : [];
}
