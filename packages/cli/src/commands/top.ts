/** `twinmetal top VM...`: what running VMs use of their host, and what holds each back. */
import { setTimeout as sleep } from "node:timers/promises";
import { defineCommand, type Io } from "../command.ts";
import { namedVms } from "../named-vms.ts";
import { flag, option } from "../options.ts";
import { parseShortTime } from "../quantities.ts";
import { UsageError } from "../usage-error.ts";
import { type TopRow, topTable } from "../usage-text.ts";
import { usageRates, type VmUsage } from "../vm-library.ts";

const DEFAULT_INTERVAL_MS = 2000;
const ONCE_MS = 1000;
/** A VM that does not answer within this is shown as silent. */
const ANSWER_MS = 2000;
const CLEAR = "\x1b[H\x1b[2J";

export const TOP = defineCommand({
  name: "top",
  summary: "watch what running VMs use, and what holds them back",
  usage: "[VM...] [--once] [--json] [--interval TIME]",
  text: [
    "VM is a name of `twinmetal ls`, or the socket that it was started with; without one, all that run under a name.",
    "CPU is of one processor, by the threads of the VM's virtual processors; WAITS: they could have run, and the host had no processor for them; RESTS: held back by the VM's own limits. MEMORY is what its process has in the host's memory, of what the guest was promised, its balloon taken off; BALLOON is what is in that, auto: as host and guest need it; SHARED is the part of it that other processes use, too. The last column says what holds the VM back most.",
    "It goes on until Ctrl-C. With --json each look is one line.",
  ],
  options: {
    once: flag("once", "One look, over a second."),
    json: flag("json", "Print one JSON array for each look, with all counters and rates."),
    interval: option("interval", "TIME", "Between two looks (default 2s).", parseShortTime),
  },
  examples: [
    ["twinmetal top", "all that run"],
    ["twinmetal top box vm.sock --once --json", "for programs"],
  ],
  execute: async (io, { values, operands, rest }) => {
    if (rest !== undefined) throw new UsageError('"--" is one word too many.');
    const intervalMs = values.interval ?? (values.once ? ONCE_MS : DEFAULT_INTERVAL_MS);
    const abort = new AbortController();
    const off = io.onSignal("SIGINT", () => abort.abort());
    try {
      let before = await look(io, await targets(io, operands));
      if (operands.length === 1 && before.size === 0) await ask(io, operands[0]!); // It says why.
      do {
        await sleep(intervalMs, undefined, { signal: abort.signal }).catch(() => {}); // Ctrl-C.
        if (abort.signal.aborted && !values.once) break;
        const vms = await targets(io, operands);
        const now = await look(io, vms);
        io.stdout.write(textOf(io, rowsOf(vms, before, now), values));
        before = now;
      } while (!values.once && !abort.signal.aborted);
      return 0;
    } finally {
      off();
    }
  },
});

/** Without names: all that run now. */
async function targets(io: Io, operands: readonly string[]): Promise<readonly string[]> {
  if (operands.length > 0) return operands;
  const seen = await namedVms(io).list();
  return seen.filter(({ pid }) => pid !== undefined).map(({ name }) => name);
}

async function ask(io: Io, vm: string): Promise<VmUsage> {
  const signal = AbortSignal.timeout(ANSWER_MS);
  return (await io.library.askVm(vm, { command: "usage" }, { signal })) as VmUsage;
}

/** Those that answer. */
async function look(io: Io, vms: readonly string[]): Promise<Map<string, VmUsage>> {
  const found = await Promise.all(vms.map(async (vm) => [vm, await ask(io, vm).catch(() => undefined)] as const));
  return new Map(found.filter((each): each is [string, VmUsage] => each[1] !== undefined));
}

function rowsOf(
  vms: readonly string[],
  before: ReadonlyMap<string, VmUsage>,
  now: ReadonlyMap<string, VmUsage>,
): TopRow[] {
  return vms.map((name) => {
    const usage = now.get(name);
    return { name, usage, rates: usage && usageRates(before.get(name), usage) };
  });
}

function textOf(io: Io, rows: readonly TopRow[], { json, once }: { json?: boolean; once?: boolean }): string {
  if (json) return `${JSON.stringify(rows)}\n`;
  const isScreen = io.stdout.isTTY === true && !once;
  return `${isScreen ? CLEAR : ""}${topTable(rows, io.stdout.columns ?? Number.POSITIVE_INFINITY)}`;
}
