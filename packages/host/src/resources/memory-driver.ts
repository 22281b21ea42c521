/**
 * Memory of a guest with a balloon, moved by what host and guest need: while the host is short of memory (Linux's pressure stall
 * information, Documentation/accounting/psi.rst, and MemAvailable), a guest does without what it has idle; when the guest runs
 * short, or the host has plenty again, it gets it back. Linux hosts only: elsewhere nothing happens.
 */
import { readFileSync } from "node:fs";
import type { BalloonStatistics } from "@twinmetal/core";
import type { Vm } from "../vm/vm.ts";

export interface HostMemory {
  readonly totalBytes: number;
  /** That programs could have without swapping. */
  readonly availableBytes: number;
  /** Part of the last ten seconds in which some program waited for memory: 0 to 1. */
  readonly pressure: number;
}

export interface MemoryDriverOptions {
  /** Between two looks. Default 1000 ms. */
  readonly intervalMs?: number;
  /** Undefined: the host does not tell, and nothing is done. For tests. */
  readonly readHost?: () => HostMemory | undefined;
}

const MIB = 2 ** 20;
const INTERVAL_MS = 1000;
/** The host is short below the first part of its memory, and has plenty above the second. */
const SHORT = 0.1;
const PLENTY = 0.25;
const PRESSED = 0.05;
/** A guest keeps so much available: a part of its memory, and at least. */
const KEPT = 0.15;
const LEAST_KEPT_BYTES = 48 * MIB;
/** Of what is idle, taken at a time; of the balloon, given back at a time while the host has plenty. */
const STEP = 0.5;
/** Less is not worth a change. */
const LEAST_CHANGE_BYTES = 4 * MIB;

/** What the balloon should hold next. `guest`: what its balloon's driver tells. */
export function nextBalloonBytes(host: HostMemory, guest: BalloonStatistics, balloonBytes: number): number {
  const { totalBytes = 0, availableBytes } = guest;
  if (availableBytes === undefined || totalBytes === 0) return balloonBytes;
  const keptBytes = Math.max(totalBytes * KEPT, LEAST_KEPT_BYTES);
  const idleBytes = availableBytes - keptBytes;
  const part = host.availableBytes / host.totalBytes;
  let next = balloonBytes;
  // What the guest needs goes before what the host would like, up to twice what it keeps, so that it need not ask at once again.
  if (availableBytes < keptBytes / 2) next = balloonBytes - (2 * keptBytes - availableBytes);
  else if (part < SHORT || host.pressure > PRESSED) next = balloonBytes + Math.max(0, idleBytes) * STEP;
  else if (part > PLENTY) next = balloonBytes <= 2 * LEAST_CHANGE_BYTES ? 0 : balloonBytes * (1 - STEP);
  next = Math.max(0, Math.floor(next));
  const isWorthIt = next === 0 || Math.abs(next - balloonBytes) >= LEAST_CHANGE_BYTES;
  return isWorthIt ? next : balloonBytes;
}

/** Until the returned function is called, or the VM ends. Precondition: the VM has a balloon. */
export function driveMemory(vm: Pick<Vm, "memory" | "state">, options: MemoryDriverOptions = {}): () => void {
  const { intervalMs = INTERVAL_MS, readHost = readHostMemory } = options;
  let isStopped = false;
  let timer: NodeJS.Timeout;
  const look = async (): Promise<void> => {
    const host = readHost();
    if (host && vm.state === "running") {
      const { memory } = vm;
      const next = nextBalloonBytes(host, await memory.statistics({ timeoutMs: intervalMs }), memory.balloonBytes);
      if (next !== memory.balloonBytes && !isStopped) await memory.balloon(next, { timeoutMs: 0 });
    }
  };
  const again = (): void => {
    timer = setTimeout(() => {
      // A guest whose driver is not there yet, or that has just ended, tells nothing.
      void look()
        .catch(() => {})
        .finally(() => {
          if (!isStopped && vm.state !== "off" && vm.state !== "crashed" && vm.state !== "migrated") again();
        });
    }, intervalMs).unref();
  };
  again();
  return () => {
    isStopped = true;
    clearTimeout(timer);
  };
}

function readHostMemory(): HostMemory | undefined {
  try {
    const text = readFileSync("/proc/meminfo", "utf8");
    const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1]) * 1024;
    const [totalBytes, availableBytes] = [of("MemTotal"), of("MemAvailable")];
    return totalBytes > 0 && availableBytes >= 0 ? { totalBytes, availableBytes, pressure: readPressure() } : undefined;
  } catch {
    return undefined;
  }
}

/** 0 on kernels without it. */
function readPressure(): number {
  try {
    return Number(/^some avg10=([\d.]+)/.exec(readFileSync("/proc/pressure/memory", "utf8"))?.[1] ?? 0) / 100;
  } catch {
    return 0;
  }
}
