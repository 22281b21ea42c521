/**
 * `twinmetal engine`: what would execute a guest here, and why. `twinmetal engine stats`: how it executes one, from a VM
 * that is started for that. There is no way yet to ask a VM of another process.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { defineCommand, type Io } from "../command.ts";
import { engineTables } from "../engine-tables.ts";
import { hostVm } from "../hosting.ts";
import { flag, type ParsedLine } from "../options.ts";
import { translationCache } from "../translation-cache.ts";
import { UsageError } from "../usage-error.ts";
import { RUN_OPTIONS, runPlan } from "./run.ts";

const { kernel, initrd, append, memory, cpu, tier, clock, seed, epoch, timeout } = RUN_OPTIONS;
const STATS_OPTIONS = { kernel, initrd, append, memory, cpu, tier, clock, seed, epoch, timeout };
const OPTIONS = {
  json: flag("json", "As JSON."),
  ...STATS_OPTIONS,
  translationCache: RUN_OPTIONS.translationCache,
};
type EngineLine = ParsedLine<typeof OPTIONS>;

interface EngineRow {
  readonly engine: string;
  readonly usable: boolean;
  readonly chosen: boolean;
  readonly reason: string;
  /** What it meets on this host. */
  readonly host?: Readonly<Record<string, string | number | boolean>>;
}

export const ENGINE = defineCommand({
  name: "engine",
  summary: "tell which engine a VM gets on this host, and why",
  usage: "[--json] | stats [IMAGE] [options] [-- CMD ARG...]",
  text: [
    "engine stats starts a VM as `twinmetal run` does, with the same options, and prints where its time went: instructions and time of each tier, regions, the queue of the translation thread, dropped code, the TLB. Without --kernel and CMD the image is started and does nothing; with --kernel it runs until its guest turns off.",
    "The VM's console is not shown; what CMD prints goes to standard error. Counters of a VM of your own: `twinmetal run --stats`.",
  ],
  options: OPTIONS,
  examples: [
    ["twinmetal engine", "what `twinmetal run` uses here"],
    ["twinmetal engine stats", "how a boot of the image is executed"],
    ["twinmetal engine stats --tier interp --json -- sh -c 'seq 99999 | sha256sum'", "a command, without regions"],
  ],
  execute: async (io, line) => {
    const [what, ...operands] = line.operands;
    if (what === "stats") return await runForStatistics(io, { ...line, operands });
    const extra = what ?? line.rest?.[0];
    if (extra !== undefined) throw new UsageError(`"${extra}" is one word too many.`);
    const { json, ...others } = line.values;
    if (Object.keys(others).length > 0)
      throw new UsageError("options of a VM come after stats: twinmetal engine stats.");
    const rows = engines(io);
    if (json) io.stdout.write(`${JSON.stringify(rows)}\n`);
    else for (const row of rows) io.stdout.write(describe(row));
    return 0;
  },
});

async function runForStatistics(io: Io, { values, operands, rest }: EngineLine): Promise<number> {
  const { json, ...given } = values;
  const command = rest ?? (given.kernel === undefined ? ["true"] : undefined);
  const plan = runPlan(io, { values: { ...given, serial: { kind: "null" } }, operands, rest: command });
  return await hostVm(
    { ...io, stdout: io.stderr },
    {
      ...plan,
      wantsStatistics: true,
      onStatistics: (counters) => void io.stdout.write(json ? `${JSON.stringify(counters)}\n` : engineTables(counters)),
    },
  );
}

function engines(io: Io): readonly EngineRow[] {
  const device = existsSync("/dev/kvm") ? "This host has /dev/kvm; it is not opened." : "This host has no /dev/kvm.";
  const cache = translationCache(undefined, io.env);
  return [
    {
      engine: "jit",
      usable: true,
      chosen: true,
      reason:
        "Guest code is run by a WebAssembly interpreter that is generated from the instruction descriptions; what runs often is translated to WebAssembly. Works on every host with Node 20 or newer, without root.",
      host: {
        node: process.versions.node,
        v8: process.versions.v8,
        cpus: availableParallelism(),
        branchHints: hasBranchHints(),
        sharedMemory: typeof SharedArrayBuffer !== "undefined",
        translationCache: cache === "off" ? "off" : (cache.directory ?? "in the user's cache directory"),
      },
    },
    {
      engine: "kvm",
      usable: false,
      chosen: false,
      reason: `Not in this version yet: guest code on the CPU itself, through Linux's KVM. ${device}`,
    },
  ];
}

/** V8 takes switches that it does not know in silence; its list of them says which it knows. */
function hasBranchHints(): boolean {
  const { stdout } = spawnSync(process.execPath, ["--v8-options"], { encoding: "utf8" });
  return stdout?.includes("--experimental-wasm-branch-hinting") ?? false;
}

function describe({ engine, usable, chosen, reason, host }: EngineRow): string {
  const verdict = chosen ? "used for every VM here" : usable ? "usable" : "not usable";
  const facts = Object.entries(host ?? {}).map(([name, value]) => `  ${name}: ${value}\n`);
  return `${engine}: ${verdict}\n  ${reason.replace(/\. /g, ".\n  ")}\n${facts.join("")}`;
}
