/**
 * `npm run test:kvm`: the kvm engine on real SVM instructions, on any host. Builds a guest (base-layer.ts, project-layer.ts),
 * boots it in QEMU on a software processor that has SVM, lets the programs of programs.ts run on KVM in there, and prints
 * their tests as they end. Status: 0 all passed, 1 not, 2 bad usage, 130 interrupted.
 */

import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ImageError } from "../../packages/host/src/index.ts";
import { ensureBaseLayer } from "./base-layer.ts";
import { deviationsOf, SEVERAL_PROCESSORS } from "./deviations.ts";
import { firmwareLayer } from "./firmware-layer.ts";
import { ensureLoadLayer } from "./load-layer.ts";
import { CPU_MODEL, hasQemu, QEMU, qemuVersion, runOuterMachine } from "./outer-machine.ts";
import { PROGRAMS, type TestProgram } from "./programs.ts";
import { buildProjectLayer, MissingPart } from "./project-layer.ts";
import { TestReport } from "./test-report.ts";

const USAGE = `usage: npm run test:kvm -- [PROGRAM...] [options]
  --long            the long programs too
  --filter PATTERN  only tests whose names match
  --report FILE     a summary as JSON, in the fields that Vitest's has
  --console         the guest's kernel console at the end, whatever happened
  --switches COUNT  of the program "switches" (default 200)
  --memory MIB      of the guest (default 2048)
  --cpu MODEL       QEMU's (default ${CPU_MODEL})
  --list            what there is`;
const BUILD_LIMIT_MS = 10 * 60_000;
const BOOT_LIMIT_MS = 150_000;
/** A program's own limit counts inside; outside it gets this much more. */
const GRACE_MS = 20_000;
const CONSOLE_LINES = 60;
const PREFIX = "twinmetal-nested-";

class UsageError extends Error {}

export async function main(args: readonly string[]): Promise<number> {
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort(new Error("interrupted"));
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(name, interrupt);
  try {
    return await run(optionsOf(args), interrupted.signal);
  } catch (error) {
    if (interrupted.signal.aborted) return 130;
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n${USAGE}\n`);
    return 2;
  }
}

type Options = ReturnType<typeof optionsOf>;

function optionsOf(args: readonly string[]) {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(args);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const { values, positionals } = parsed;
  const unknown = positionals.find((name) => !PROGRAMS.some((program) => program.name === name));
  if (unknown !== undefined) throw new UsageError(`there is no program "${unknown}"; --list names them`);
  const isWanted = ({ name, form }: TestProgram): boolean =>
    positionals.length > 0 ? positionals.includes(name) : values.long || form === "short";
  const memoryMib = Number(values.memory);
  if (!(memoryMib >= 1024 && memoryMib <= 65_536)) throw new UsageError("--memory: 1024 to 65536");
  const switches = Number(values.switches);
  if (!(Number.isInteger(switches) && switches >= 2 && switches <= 10_000))
    throw new UsageError("--switches: 2 to 10000");
  return { ...values, memoryMib, switches, programs: PROGRAMS.filter(isWanted) };
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      long: { type: "boolean", default: false },
      filter: { type: "string", default: "" },
      report: { type: "string" },
      console: { type: "boolean", default: false },
      switches: { type: "string", default: "200" },
      memory: { type: "string", default: "2048" },
      cpu: { type: "string", default: CPU_MODEL },
      list: { type: "boolean", default: false },
    },
  });
}

async function run(options: Options, interrupted: AbortSignal): Promise<number> {
  if (options.list) {
    for (const { name, form, what, limitSeconds } of PROGRAMS)
      process.stdout.write(`${name.padEnd(12)} ${form.padEnd(5)} ${String(limitSeconds).padStart(5)} s  ${what}\n`);
    return 0;
  }
  const start = performance.now();
  const print = (line: string): boolean => process.stdout.write(`${line}\n`);
  const report = new TestReport(options.programs, print, deviationsOf(qemuVersion()));
  removeAbandoned();
  const directory = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  process.once("exit", remove);
  try {
    const missing = await attempt(options, directory, report, interrupted);
    if (missing !== undefined) report.skipAll(missing);
  } finally {
    remove();
    process.removeListener("exit", remove);
  }
  report.finish(performance.now() - start);
  if (options.report !== undefined) writeFileSync(options.report, JSON.stringify(report.summary()));
  return report.isGood ? 0 : 1;
}

/** What a run that was killed has left: its own clean-up covers every other end. */
function removeAbandoned(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = Number(new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1]);
    if (pid > 0 && !existsSync(`/proc/${pid}`)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

/** Resolves with the reason if this host cannot make the guest. */
async function attempt(
  options: Options,
  directory: string,
  report: TestReport,
  interrupted: AbortSignal,
): Promise<string | undefined> {
  if (!hasQemu()) return `there is no ${QEMU} (Debian: apt-get install qemu-system-x86)`;
  const files = { initrd: join(directory, "initrd"), console: join(directory, "console") };
  let kernelPath: string;
  try {
    kernelPath = await makeGuest(options.programs, files.initrd, interrupted);
  } catch (error) {
    if (error instanceof ImageError || error instanceof MissingPart) return error.message;
    throw error;
  }
  const watchdog = new Watchdog(interrupted);
  watchdog.set("the guest has not started its first program", BOOT_LIMIT_MS);
  const outer = {
    kernelPath,
    initrdPath: files.initrd,
    consolePath: files.console,
    commandLine: [
      // Whether the timer works is tested with ten ticks in a time that a busy host does not give QEMU: Linux panics then.
      ...["console=ttyS0", "quiet", "panic=-1", "no_timer_check", "kvm.ignore_msrs=0"],
      ...[
        `programs=${options.programs.map(({ name }) => name).join(",")}`,
        `filter=${encodeURIComponent(options.filter)}`,
        `switches=${options.switches}`,
      ],
    ].join(" "),
    memoryMib: options.memoryMib,
    cpu: options.cpu,
    cpus: deviationsOf(qemuVersion()).includes(SEVERAL_PROCESSORS) ? 1 : 2,
  };
  try {
    const end = await runOuterMachine(
      outer,
      (line) => {
        const program = report.take(line);
        if (program) watchdog.set(`${program.name} has not ended`, program.limitSeconds * 1000 + GRACE_MS);
      },
      watchdog.signal,
    );
    if (!report.hasEnded) report.fail(`the guest ended too soon (status ${end.status})\n${end.complaints}`);
  } catch (error) {
    interrupted.throwIfAborted();
    if (!watchdog.signal.aborted) throw error;
    report.fail(watchdog.reason);
  } finally {
    watchdog.clear();
    if (!interrupted.aborted && (options.console || !report.isGood)) printConsole(files.console);
  }
  return undefined;
}

async function makeGuest(
  programs: readonly TestProgram[],
  initrdPath: string,
  interrupted: AbortSignal,
): Promise<string> {
  const start = performance.now();
  const signal = AbortSignal.any([interrupted, AbortSignal.timeout(BUILD_LIMIT_MS)]);
  const progress = progressLine();
  const base = await ensureBaseLayer({ signal, onProgress: progress.show });
  const isLoaded = programs.some(({ needsLoad }) => needsLoad);
  const load = isLoaded ? await ensureLoadLayer(base.tiny, { signal, onProgress: progress.show }) : undefined;
  const kinds = programs.flatMap(({ needsFirmware }) => needsFirmware ?? []);
  const firmware = await firmwareLayer(new Set(kinds), signal);
  progress.show("bundling the tests");
  const project = await buildProjectLayer(programs, base.tiny, load, firmware);
  progress.clear();
  copyFileSync(base.archivePath, initrdPath);
  const file = openSync(initrdPath, "a");
  writeSync(file, project);
  closeSync(file);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  process.stdout.write(`# guest made in ${seconds} s${base.cacheHit ? "" : ", its base anew"}\n`);
  return base.kernelPath;
}

/** On a terminal one line that is written over; elsewhere nothing. */
function progressLine(): { show: (text: string) => void; clear: () => void } {
  const { stderr } = process;
  if (!stderr.isTTY) return { show: () => {}, clear: () => {} };
  return { show: (text) => void stderr.write(`\r\x1b[K${text}`), clear: () => void stderr.write("\r\x1b[K") };
}

/** Aborts when what it waits for takes too long, or with the signal that it is given. */
class Watchdog {
  readonly #late = new AbortController();
  readonly signal: AbortSignal;
  reason = "";
  #timer: NodeJS.Timeout | undefined;

  constructor(interrupted: AbortSignal) {
    this.signal = AbortSignal.any([interrupted, this.#late.signal]);
  }

  set(what: string, limitMs: number): void {
    this.clear();
    this.#timer = setTimeout(() => {
      this.reason = `${what} after ${limitMs / 1000} s`;
      this.#late.abort();
    }, limitMs);
  }

  clear(): void {
    clearTimeout(this.#timer);
  }
}

function printConsole(path: string): void {
  try {
    const lines = readFileSync(path, "latin1").trimEnd().split("\n").slice(-CONSOLE_LINES);
    for (const line of lines) process.stdout.write(`# console: ${line.replace(/[^\x20-\x7e]/g, "")}\n`);
  } catch {
    process.stdout.write("# console: nothing\n");
  }
}
