/** `twinmetal migrate VM TARGET`: a running VM moves to another process, which waits for it with `run --incoming`. */
import { resolve } from "node:path";
import { defineCommand, type Io } from "../command.ts";
import { LINK_OPTIONS, linkSecurity, targetAddress } from "../migration-options.ts";
import { choice, flag, type OptionValues, option } from "../options.ts";
import { ProgressLine } from "../progress-line.ts";
import { formatSize, parseShortTime, parseSize } from "../quantities.ts";
import { UsageError } from "../usage-error.ts";
import type {
  ControlOptions,
  ControlRequest,
  EngineSwitchResult,
  MigrationObstacle,
  MigrationProgress,
  MigrationResult,
} from "../vm-library.ts";

const OPTIONS = {
  maxDowntime: option(
    "max-downtime",
    "TIME",
    "How long the guest may stand still at the end (default 100ms).",
    parseShortTime,
  ),
  bandwidth: option(
    "bandwidth",
    "SIZE",
    "At most so much a second, such as 50M (default: what the link takes).",
    parseSize,
  ),
  compress: choice(
    "compress",
    ["auto", "always", "never"],
    "Pages; auto (default): while the link is what is waited for.",
  ),
  noThrottle: flag("no-throttle", "Never slow the guest down, even if it writes faster than the link carries."),
  check: flag("check", "Only tell what speaks against it; nothing is started."),
  cancel: flag("cancel", "Cancel the migration that is under way: the VM runs on where it is."),
  decide: choice(
    "decide",
    ["run", "discard"],
    "After a migration whose last step broke off: what to do with the copy of the VM behind VM. See docs/migration.md.",
  ),
  status: flag("status", "Tell what the VM behind VM is doing."),
  record: option(
    "record",
    "FILE",
    "Record the VM from here on, for `twinmetal replay --state STATE FILE`; on the jit engine. Needs --state.",
  ),
  state: option("state", "STATE", "With --record: where the state goes that the recording begins from."),
  ...LINK_OPTIONS,
  json: flag("json", "Progress and result as JSON, a line each."),
};
type Values = OptionValues<typeof OPTIONS>;

export const MIGRATE = defineCommand({
  name: "migrate",
  summary: "move a running VM to another process or host",
  usage:
    "VM TARGET [options] | VM jit|kvm | VM --cancel | VM --decide run|discard | VM --status | VM --record FILE --state STATE",
  text: [
    "VM is a name of `twinmetal ls`, or the socket that it was started with: twinmetal run --migration-socket SOCKET. TARGET is where another process waits: twinmetal run --incoming TARGET, with unix:PATH on the same host or tcp:HOST:PORT.",
    "The guest runs on while its memory goes over, and stands still for the last step only. Whatever breaks, at most one copy runs; Ctrl-C cancels, and the VM runs on where it was.",
    "With jit or kvm as the target the VM goes on in that engine, in its own process: memory, console and agent stay where they are. --check tells what speaks against it.",
    "Status: 0 done, 125 it failed (the reason is on standard error), 2 bad usage.",
  ],
  options: OPTIONS,
  examples: [
    ["twinmetal run --migration-socket vm.sock", "a VM that can be moved"],
    ["twinmetal run --incoming unix:there.sock", "in another terminal: waits for it"],
    ["twinmetal migrate vm.sock unix:there.sock", "in a third one: moves it"],
    ["twinmetal migrate vm.sock jit", "the VM goes on in the other engine, where it can be recorded"],
    ["twinmetal migrate vm.sock tcp:10.0.0.2:4444 --tls-key k.pem --tls-cert c.pem --tls-ca ca.pem", "to another host"],
  ],
  execute: async (io, { values, operands: [socket, target, extra], rest }) => {
    if (socket === undefined)
      throw new UsageError(
        "which VM? Give its name (twinmetal ls), or the socket that it was started with: --migration-socket.",
      );
    if (extra !== undefined || rest !== undefined) throw new UsageError(`"${extra ?? "--"}" is one word too many.`);
    return await ask(io, socket, requestOf(values, target), values.json === true);
  },
});

function requestOf(values: Values, target: string | undefined): ControlRequest {
  const { cancel, decide, status, check, record, state } = values;
  const asked = [cancel, decide, status, record].filter((value) => value !== undefined).length;
  if (asked > 1) throw new UsageError("--cancel, --decide, --status and --record exclude each other.");
  if ((record === undefined) !== (state === undefined)) throw new UsageError("--record and --state need each other.");
  if (asked === 1) {
    if (target !== undefined) throw new UsageError(`"${target}" is one word too many: nothing is moved there.`);
    if (record !== undefined && state !== undefined)
      return { command: "record", path: resolve(record), state: resolve(state) };
    if (decide) return { command: "decide", choice: decide };
    return { command: cancel ? "cancel" : "status" };
  }
  if (target === undefined) throw new UsageError("where to? Give unix:PATH, tcp:HOST:PORT, or an engine.");
  if (target === "jit" || target === "kvm") return engineRequest(values, target);
  return { command: check ? "check" : "migrate", target: targetAddress(target), options: controlOptions(values) };
}

function engineRequest(values: Values, engine: "jit" | "kvm"): ControlRequest {
  const options = Object.keys(controlOptions(values)).length;
  if (options > 0) throw new UsageError(`Nothing goes over a link to ${engine}: leave its options out.`);
  return values.check ? { command: "check", target: engine, options: {} } : { command: "switch", engine };
}

function controlOptions(values: Values): ControlOptions {
  const { maxDowntime, bandwidth, compress, noThrottle } = values;
  return {
    ...linkSecurity(values),
    ...(maxDowntime !== undefined && { maxDowntimeMs: maxDowntime }),
    ...(bandwidth !== undefined && { bytesPerSecond: bandwidth }),
    ...(compress !== undefined && { compression: compress }),
    ...(noThrottle && { mayThrottle: false }),
  };
}

async function ask(io: Io, socket: string, request: ControlRequest, asJson: boolean): Promise<number> {
  const abort = new AbortController();
  const stops = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((name) => io.onSignal(name, () => abort.abort()));
  const line = new ProgressLine(io);
  const print = (value: unknown): void => void io.stdout.write(`${JSON.stringify(value)}\n`);
  const onProgress = (progress: MigrationProgress): void => {
    if (asJson) print({ progress });
    else
      line.report({
        phase: describe(progress),
        done: progress.roundPages - progress.leftPages,
        total: progress.roundPages,
      });
  };
  try {
    const result = await io.library.askVm(socket, request, { signal: abort.signal, onProgress });
    line.clear();
    if (asJson) print({ result });
    else io.stdout.write(conclude(request, result));
    return request.command === "check" && (result as readonly unknown[]).length > 0 ? 125 : 0;
  } finally {
    line.clear();
    for (const stop of stops) stop();
  }
}

function describe({ phase, round, share }: MigrationProgress): string {
  if (phase !== "copy") return `migrating: ${phase}`;
  return `migrating: round ${round}${share < 1 ? `, guest at ${Math.round(share * 100)} %` : ""}`;
}

function conclude(request: ControlRequest, result: unknown): string {
  switch (request.command) {
    case "check": {
      const obstacles = result as readonly MigrationObstacle[];
      if (obstacles.length === 0) return "nothing speaks against it\n";
      return obstacles.map(({ code, message }) => `${code}: ${message}\n`).join("");
    }
    case "migrate": {
      const { downtimeMs, totalMs, rounds, sentBytes } = result as MigrationResult;
      return `migrated in ${(totalMs / 1000).toFixed(1)} s, ${rounds} round${rounds === 1 ? "" : "s"}, ${formatSize(sentBytes)}; the guest stood still for ${Math.round(downtimeMs)} ms\n`;
    }
    case "switch": {
      const { to, totalMs, pausedMs, movedBytes } = result as EngineSwitchResult;
      return `on ${to} after ${(totalMs / 1000).toFixed(1)} s; the guest stood still for ${Math.round(pausedMs)} ms, ${formatSize(movedBytes)} went over\n`;
    }
    case "status": {
      const { state, engine, isMigrating } = result as { state: string; engine?: string; isMigrating: boolean };
      return `${state}${engine === undefined ? "" : ` on ${engine}`}${isMigrating ? ", migrating" : ""}\n`;
    }
    default:
      return "";
  }
}
