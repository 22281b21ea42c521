/**
 * The balloon of a guest, moved by what host and guest need: while the host is short of memory (Linux's pressure stall
 * information, Documentation/accounting/psi.rst, and MemAvailable), a guest does without what it has idle; when the guest runs
 * short, or the host has plenty again, it gets it back. The host is looked at every second, and between "short" and "plenty" nothing
 * changes, so that a guest's memory does not swing. Linux hosts only: elsewhere nothing happens.
 */
import { readFileSync } from "node:fs";
import type { BalloonStatistics } from "@twinmetal/core";

export interface HostMemory {
  readonly totalBytes: number;
  /** That programs could have without swapping. */
  readonly availableBytes: number;
  /** Part of the last ten seconds in which some program waited for memory: 0 to 1. */
  readonly pressure: number;
}

/** The balloon that is moved. */
export interface DrivenBalloon {
  /** What is in it. */
  readonly balloonBytes: number;
  readonly isRunning: boolean;
  readonly hasEnded: boolean;
  statistics(options: { timeoutMs: number }): Promise<BalloonStatistics>;
  /** What shall be in it; not waited for. */
  aim(bytes: number): void;
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
/** It is short, too, above the first pressure, and has no plenty above the second. */
const PRESSED = 0.05;
const CALM = 0.01;
/** A guest keeps so much available: a part of its memory, and at least. */
const KEPT = 0.15;
const LEAST_KEPT_BYTES = 48 * MIB;
/** Of what is idle, taken at a time; of the balloon, and of what the host has beyond plenty, given back at a time. */
const STEP = 0.5;
/** Less is not worth a change, and more is not taken at a time: a guest works for it, and may need it in a moment. */
const LEAST_CHANGE_BYTES = 4 * MIB;
const MOST_TAKEN_BYTES = 256 * MIB;

/** What the balloon should hold next. `guest`: what its balloon's driver tells. */
export function nextBalloonBytes(host: HostMemory, guest: BalloonStatistics, balloonBytes: number): number {
  const { totalBytes = 0, availableBytes } = guest;
  if (availableBytes === undefined || totalBytes === 0) return balloonBytes;
  const keptBytes = Math.max(totalBytes * KEPT, LEAST_KEPT_BYTES);
  const idleBytes = Math.max(0, availableBytes - keptBytes);
  const isShort = host.availableBytes < SHORT * host.totalBytes || host.pressure > PRESSED;
  const sparedBytes = host.pressure < CALM ? host.availableBytes - PLENTY * host.totalBytes : 0;
  let next = balloonBytes;
  // What the guest needs goes before what the host would like, up to twice what it keeps, so that it need not ask at once again.
  if (availableBytes < keptBytes / 2) next = balloonBytes - (2 * keptBytes - availableBytes);
  else if (isShort) next = balloonBytes + Math.min(idleBytes * STEP, MOST_TAKEN_BYTES);
  else if (sparedBytes > 0)
    next = balloonBytes - Math.max(LEAST_CHANGE_BYTES, STEP * Math.min(balloonBytes, sparedBytes));
  next = Math.max(0, Math.floor(next));
  const isWorthIt = next === 0 || Math.abs(next - balloonBytes) >= LEAST_CHANGE_BYTES;
  return isWorthIt ? next : balloonBytes;
}

/** Until the returned function is called, or the VM ends. Does not keep the process alive. */
export function driveMemory(balloon: DrivenBalloon, options: MemoryDriverOptions = {}): () => void {
  const { intervalMs = INTERVAL_MS, readHost = readHostMemory } = options;
  let isStopped = false;
  let timer: NodeJS.Timeout;
  const look = async (): Promise<void> => {
    const host = balloon.isRunning ? readHost() : undefined;
    if (!host) return;
    const next = nextBalloonBytes(host, await balloon.statistics({ timeoutMs: intervalMs }), balloon.balloonBytes);
    if (next !== balloon.balloonBytes && !isStopped) balloon.aim(next);
  };
  const again = (): void => {
    timer = setTimeout(() => {
      // A guest whose driver is not there yet, or that has just ended, tells nothing.
      void look()
        .catch(() => {})
        .finally(() => {
          if (!isStopped && !balloon.hasEnded) again();
        });
    }, intervalMs).unref();
  };
  again();
  return () => {
    isStopped = true;
    clearTimeout(timer);
  };
}

/** Undefined: not Linux. */
export function readHostMemory(): HostMemory | undefined {
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
