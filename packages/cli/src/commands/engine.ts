/**
 * `twinmetal engine`: what would execute a guest here, and why. `twinmetal engine stats`: how it executes one, from a VM
 * that is started for that. There is no way yet to ask a VM of another process.
 */
import { defineCommand, type Io } from "../command.ts";
import { engineTables } from "../engine-tables.ts";
import { engineText } from "../engine-text.ts";
import { hostVm } from "../hosting.ts";
import { flag, type ParsedLine } from "../options.ts";
import { sandboxText } from "../sandbox.ts";
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

export const ENGINE = defineCommand({
  name: "engine",
  summary: "tell which engine a VM gets on this host, and why",
  usage: "[--json] | stats [IMAGE] [options] [-- CMD ARG...]",
  text: [
    "Says what executes a guest here and why, whether that is a hypervisor of type 1 or 2, in which rings hypervisor, VM process, guest kernel and guest programs run, what it costs, and what would make it faster. Takes about a tenth of a second: /dev/kvm is tried out.",
    "engine stats starts a VM as `twinmetal run` does, with the same options, and prints where its time went: instructions and time of each tier, regions, the queue of the translation thread, dropped code, the TLB. Without --kernel and CMD the image is started and does nothing; with --kernel it runs until its guest turns off.",
    "The VM's console is not shown; what CMD prints goes to standard error. Counters of a VM of your own: `twinmetal run --stats`.",
  ],
  options: OPTIONS,
  hints: { endsWithCommand: true },
  examples: [
    ["twinmetal engine", "what `twinmetal run` uses here, and what would make it faster"],
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
    const explanation = io.library.explainEngine();
    const cache = translationCache(undefined, io.env);
    const cacheIn = cache === "off" ? "off" : (cache.directory ?? "in the user's cache directory");
    const sandbox = io.library.sandboxSupport();
    const text = json
      ? JSON.stringify({ ...explanation, translationCache: cacheIn, sandbox })
      : `${engineText(explanation, cacheIn)}\n${sandboxText(sandbox)}`;
    io.stdout.write(`${text}\n`);
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
