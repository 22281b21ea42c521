/** What `twinmetal engine stats` prints: a VM's counters (docs/jit.md) as tables for people. */
type Counters = Readonly<Record<string, number>>;
type Row = readonly [label: string, ...cells: string[]];

const PER_CENT = 100;

export function engineTables(counters: Counters): string {
  const get = (name: string): number => counters[name] ?? 0;
  const { retired = 0, instructionsInRegions = 0, busyMs = 0 } = counters;
  const isSampled = counters["activitySamples"] !== undefined;
  const time = (name: string): [string, string] =>
    isSampled ? [ms(get(name)), share(get(name), busyMs)] : ["not known here", ""];
  const instructions = (count: number): [string, string] => [String(count), share(count, retired)];
  const devices = ["portReads", "portWrites", "mmioReads", "mmioWrites"].reduce((sum, name) => sum + get(name), 0);
  const tiers: Row[] = [
    ["", "instructions", "", "time", ""],
    ["interpreter", ...instructions(retired - instructionsInRegions), ...time("interpreterMs")],
    ["regions", ...instructions(instructionsInRegions), ...time("regionsMs")],
    ["decoding", "", "", ...time("decodingMs")],
    ["asking for and installing regions", "", "", ...time("translationMs")],
    ["devices", "", "", ...time("devicesMs")],
    ["timers, events, input and output", "", "", ...time("machineMs")],
    ["all that the machine's thread did", String(retired), "", ms(busyMs), ""],
    ["idle, the guest waits", "", "", ms(get("idleMs")), ""],
    ["translation thread", "", "", ms(get("translatorMs")), ""],
    ["CPU time of the whole process", "", "", ms(get("processCpuMs")), ""],
    ["from start to end", "", "", ms(get("elapsedMs")), ""],
  ];
  const rest: Row[] = [
    ["regions translated", `${get("regionsTranslated")}`, `of ${get("regionInstructions")} instructions`],
    ["  refused", `${get("regionsRefused")}`],
    ["  their modules", `${get("regionModules")}`, `${get("regionBytes")} bytes`],
    ["  of these dropped again", `${get("regionModulesDropped")}`],
    ["  known again in memory", `${get("regionsReused")}`],
    ["  out of the translation cache", `${get("regionsKept")}`, `${get("regionsKeptUsed")} of them used`],
    ["waiting to be translated", `${get("regionsQueued")}`, `at most ${get("regionsQueuedMost")}`],
    [
      "entries from the dispatcher",
      `${get("regionEntries")}`,
      `${ratio(instructionsInRegions, get("regionEntries"))} instructions each`,
    ],
    ["pages whose code was dropped", `${get("codeDrops")}`],
    ["blocks decoded", `${get("blocksDecoded")}`, `all dropped ${get("blockFlushes")} times`],
    ["regions all dropped", `${get("regionResets")}`],
    ["TLB misses", `${get("tlbMisses")}`, `${ratio(1000 * get("tlbMisses"), retired)} in 1000 instructions`],
    ["TLB flushes", `${get("tlbFlushes")}`, `and ${get("tlbPageFlushes")} of single pages`],
    ["device accesses", `${devices}`],
  ];
  const note = isSampled ? `Time by tier rests on ${get("activitySamples")} looks at the machine's thread.\n` : "";
  return `${table(tiers)}\n${table(rest)}\n${note}`;
}

const ms = (value: number): string => `${(value / 1000).toFixed(2)} s`;
const share = (part: number, whole: number): string => (whole > 0 ? `${((PER_CENT * part) / whole).toFixed(1)} %` : "");
const ratio = (a: number, b: number): string => (b > 0 ? (a / b).toFixed(1) : "0");

/** Labels to the left, all else to the right, but words behind numbers. */
function table(rows: readonly Row[]): string {
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const cell = (text: string, i: number): string =>
    i === 0 || /^[a-z]|^\S+ [a-z]{2}/.test(text) ? text.padEnd(widths[i]!) : text.padStart(widths[i]!);
  return rows.map((row) => `${row.map(cell).join("  ").trimEnd()}\n`).join("");
}
