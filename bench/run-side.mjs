// Runs one side once: starts the process, stamps every `@@` line with the host's clock and the process's CPU seconds,
// watches its memory, and ends it if it does not end by itself.
import { spawn } from "node:child_process";
import { loadavg } from "node:os";
import { childCpuSeconds, machineCpuSeconds, ProcessUsage } from "./process-usage.mjs";

const MEMORY_SAMPLE_MS = 1000;
/** How long a guest may take to turn off after its last line. */
const ENDING_MS = 10_000;
const LIMIT_MS = 15 * 60_000;
const TAIL_CHARS = 2000;

const running = new Set();

/** Ends whatever runs, for Ctrl-C. */
export function endAll() {
  for (const child of running) child.kill("SIGKILL");
}

/**
 * @param command { file, args, env, guestBytes }
 * @param onLine called with each `@@` line
 * @returns { events, wall, cpu, exit, peakBytes, overGuestBytes, load, otherCpus, tail }, times in seconds; `otherCpus`
 *   is how many CPUs the rest of the machine used meanwhile
 */
export async function runSide({ file, args, env, guestBytes }, onLine = () => {}) {
  const load = loadavg()[0];
  const before = {
    machine: machineCpuSeconds(),
    own: ownCpuSeconds(),
    child: childCpuSeconds(),
    at: performance.now(),
  };
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  running.add(child);
  const usage = new ProcessUsage(child.pid, guestBytes);
  const events = [];
  let tail = "";
  let pending = "";
  let ending;
  const limit = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
  const sampling = setInterval(() => usage.sampleMemory(), MEMORY_SAMPLE_MS);
  const keep = (text) => {
    tail = (tail + text).slice(-TAIL_CHARS);
  };
  child.stdout.on("data", (bytes) => {
    const wall = (performance.now() - before.at) / 1000;
    const text = bytes.toString("latin1");
    keep(text);
    const lines = (pending + text).split("\n");
    pending = lines.pop() ?? "";
    for (const line of lines) {
      const mark = line.indexOf("@@");
      if (mark < 0) continue;
      const event = { wall, cpu: usage.cpuSeconds(), text: line.slice(mark).trim() };
      events.push(event);
      onLine(event.text);
      if (!event.text.startsWith("@@UPTIME")) continue;
      usage.sampleMemory();
      ending ??= setTimeout(() => child.kill("SIGKILL"), ENDING_MS);
    }
  });
  child.stderr.on("data", (bytes) => keep(bytes.toString("latin1")));
  const exit = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status, signal) => resolve(status ?? signal));
  }).finally(() => {
    running.delete(child);
    for (const timer of [limit, ending]) clearTimeout(timer);
    clearInterval(sampling);
  });
  const wall = (performance.now() - before.at) / 1000;
  const cpu = (childCpuSeconds() ?? 0) - (before.child ?? 0);
  const { peakBytes, overGuestBytes } = usage;
  return { events, wall, cpu, exit, peakBytes, overGuestBytes, load, otherCpus: otherCpus(before, cpu, wall), tail };
}

function ownCpuSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function otherCpus(before, childCpu, wall) {
  const machine = machineCpuSeconds();
  if (machine === undefined || before.machine === undefined) return undefined;
  return Math.max(0, machine - before.machine - childCpu - (ownCpuSeconds() - before.own)) / wall;
}
