// What a process and the machine have used, from Linux's /proc. Nothing here throws: where there is no /proc, or the
// process has just ended, the last known figures stay.
import { closeSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";

const KIB = 1024;
const PAGE_BYTES = 4096;
const TICKS_PER_SECOND = 100;

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** CPU time of all threads, also of those that have ended, and memory, of a process without children. */
export class ProcessUsage {
  #pid;
  #guestBytes;
  #nsByThread = new Map();
  peakBytes;
  /** The most that was in memory besides the pages of guest RAM that were touched; undefined if it cannot be told. */
  overGuestBytes;

  constructor(pid, guestBytes) {
    this.#pid = pid;
    this.#guestBytes = guestBytes;
  }

  /** Scheduler's nanoseconds, which other load on the machine does not enter. */
  cpuSeconds() {
    let threads = [];
    try {
      threads = readdirSync(`/proc/${this.#pid}/task`);
    } catch {}
    for (const thread of threads) {
      const ns = Number(read(`/proc/${this.#pid}/task/${thread}/schedstat`)?.split(" ")[0]);
      if (ns > 0) this.#nsByThread.set(thread, ns);
    }
    return [...this.#nsByThread.values()].reduce((sum, ns) => sum + ns, 0) / 1e9;
  }

  /** Takes a sample of memory. */
  sampleMemory() {
    const status = read(`/proc/${this.#pid}/status`);
    const maps = read(`/proc/${this.#pid}/smaps`);
    if (status === undefined || maps === undefined) return;
    const field = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0) * KIB;
    this.peakBytes = Math.max(this.peakBytes ?? 0, field("VmHWM"));
    const guest = guestMapping(maps, this.#guestBytes);
    const touched = guest && presentBytes(this.#pid, guest.end - this.#guestBytes, guest.end);
    if (touched !== undefined) this.overGuestBytes = Math.max(this.overGuestBytes ?? 0, field("VmRSS") - touched);
  }
}

/**
 * The writable mapping that guest RAM is in, the smallest one that is large enough; { start, end } or undefined. Guest RAM
 * is its last part: in QEMU all of it, in Twinmetal what follows the core's tables in the WebAssembly memory.
 */
export function guestMapping(smaps, guestBytes) {
  let best;
  for (const [, from, to] of smaps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) .w/gm)) {
    const [start, end] = [from, to].map((text) => Number.parseInt(text, 16));
    const size = end - start;
    if (size >= guestBytes && (best === undefined || size < best.end - best.start)) best = { start, end };
  }
  return best;
}

/** How much of an address range is in memory: bit 63 of each page's entry in the page map. */
function presentBytes(pid, start, end) {
  const entries = Buffer.alloc(((end - start) / PAGE_BYTES) * 8);
  let file;
  try {
    file = openSync(`/proc/${pid}/pagemap`, "r");
    if (readSync(file, entries, 0, entries.length, (start / PAGE_BYTES) * 8) < entries.length) return undefined;
  } catch {
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
  let pages = 0;
  for (let offset = 7; offset < entries.length; offset += 8) pages += entries[offset] >> 7;
  return pages * PAGE_BYTES;
}

/** CPU seconds that the whole machine has spent since its start, or undefined. */
export function machineCpuSeconds() {
  const line = read("/proc/stat")?.split("\n")[0];
  if (line === undefined) return undefined;
  const [user, nice, system, , , irq, softirq] = line.trim().split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}

/** CPU seconds of all ended child processes of this one, and of theirs, or undefined. */
export function childCpuSeconds() {
  // The name, in parentheses, may contain blanks.
  const fields = read("/proc/self/stat")
    ?.replace(/^.*\) /, "")
    .split(" ");
  return fields && (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
}
