/** What --stats prints: the VM's counters, one a line, names as the library's, so that scripts can read them. */
import type { Vm } from "./vm-library.ts";

/** Undefined when the VM can no longer tell. */
export async function readStatistics(vm: Vm): Promise<Readonly<Record<string, number>> | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, 2000, undefined);
  });
  try {
    return await Promise.race([vm.stats(), late]);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}

export function formatStatistics(counters: Readonly<Record<string, number>>): string {
  const names = Object.keys(counters);
  const width = Math.max(...names.map((name) => name.length));
  const lines = names.map((name) => `  ${name.padEnd(width)}  ${formatNumber(counters[name] ?? 0)}`);
  return `${["twinmetal: statistics", ...lines].join("\n")}\n`;
}

function formatNumber(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(3);
}
