/** What a VM uses and may use, as `twinmetal top` and `twinmetal set` print it. */
import { diskLimitWords } from "./disk-limit-words.ts";
import { limitWords } from "./limit-choice.ts";
import { cardWords } from "./network-card-choice.ts";
import { formatSize } from "./quantities.ts";
import type { UsageRates, VmUsage } from "./vm-library.ts";

export interface TopRow {
  readonly name: string;
  /** Undefined: it does not answer. */
  readonly usage: VmUsage | undefined;
  readonly rates: UsageRates | undefined;
}

const HEADER = [
  "NAME",
  "STATE",
  "ENGINE",
  "CPU",
  "WAITS",
  "RESTS",
  "MEMORY",
  "BALLOON",
  "SHARED",
  "DISK R/W",
  "NET IN/OUT",
  "",
];

/** A table; `columns`: what a line has room for. */
export function topTable(rows: readonly TopRow[], columns: number): string {
  const cells = [HEADER, ...rows.map(cellsOf)];
  const widths = HEADER.map((_title, column) => Math.max(...cells.map((row) => row[column]!.length)));
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("  ")
        .trimEnd()
        .slice(0, columns),
    )
    .map((line) => `${line}\n`)
    .join("");
}

function cellsOf({ name, usage, rates }: TopRow): string[] {
  if (!usage || !rates) return [name, "silent", ...HEADER.slice(2, -1).map(() => "-"), "its process does not answer"];
  const { memory } = usage;
  return [
    name,
    usage.state,
    usage.engine,
    percent(rates.cpu),
    percent(rates.waited),
    percent(rates.throttled),
    `${formatSize(memory.residentBytes)} of ${formatSize(memory.promisedBytes - memory.balloonBytes)}`,
    balloonText(memory),
    formatSize(memory.sharedBytes),
    `${rate(rates.diskReadBytes)}/${rate(rates.diskWrittenBytes)}`,
    `${rate(rates.networkReceivedBytes)}/${rate(rates.networkSentBytes)}`,
    rates.whySlow ?? "",
  ];
}

/** "128 MiB auto"; "-": nothing is in it. */
function balloonText({ balloonBytes, isBalloonAutomatic }: VmUsage["memory"]): string {
  const words = [...(balloonBytes > 0 ? [formatSize(balloonBytes)] : []), ...(isBalloonAutomatic ? ["auto"] : [])];
  return words.join(" ") || "-";
}

/** What it has of its host, for `twinmetal show`: names and texts. */
export function usageRows({ cpus, maxCpus, memory }: VmUsage): readonly (readonly [string, string])[] {
  const { promisedBytes, maxBytes, residentBytes } = memory;
  const balloon = balloonText(memory);
  const parts = [
    formatSize(promisedBytes),
    ...(maxBytes > promisedBytes ? [`${formatSize(maxBytes)} at most`] : []),
    ...(balloon === "-" ? [] : [`balloon ${balloon}`]),
    `${formatSize(residentBytes)} resident`,
  ];
  return [
    ["processors", maxCpus > cpus ? `${cpus}, ${maxCpus} at most` : String(cpus)],
    ["memory", parts.join(", ")],
  ];
}

const percent = (part: number): string => `${Math.round(part * 100)}%`;

/** "1.2M": bytes a second. */
function rate(bytes: number): string {
  const units = ["", "K", "M", "G"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)}${units[unit]}`;
}

/** What holds now, a limit a line, in the words of `twinmetal set`. */
export function limitRows({ cpus, maxCpus, limits, disks, networks, memory }: VmUsage): string {
  const rows: string[] = [
    ...(maxCpus > 1 ? [`cpus=${cpus}`] : []),
    ...limitWords(limits),
    ...disks.flatMap((disk, i) => diskLimitWords(disk.limits).map((word) => `disk${i}.${word}`)),
    ...networks.flatMap((card, i) => wireRows(card.limits).map((word) => `net${i}.${word}`)),
    ...(balloonText(memory) === "-" ? [] : [`balloon=${balloonText(memory)}`]),
    ...(memory.maxBytes > memory.promisedBytes || memory.balloonBytes > 0
      ? [`memory=${formatSize(memory.promisedBytes - memory.balloonBytes)}`]
      : []),
  ];
  if (rows.length === 0) return "no limits\n";
  return rows.map((row) => `${row.split("=", 1).join().padEnd(24)} ${row.slice(row.indexOf("=") + 1)}\n`).join("");
}

/** What holds both ways has no direction. */
function wireRows({ toGuest, fromGuest }: VmUsage["networks"][number]["limits"]): string[] {
  const [to, from] = [toGuest, fromGuest].map((limits) => (limits ? cardWords({ limits: { toGuest: limits } }) : []));
  return [
    ...to!.map((word) => (from!.includes(word) ? word : `${word} to the guest`)),
    ...from!.filter((word) => !to!.includes(word)).map((word) => `${word} from the guest`),
  ];
}
