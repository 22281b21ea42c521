// Events at every boundary of a program: the run is stopped after k instructions, something happens, and it goes on to its
// end, on two subjects. At each stop and at the end the whole state, all of RAM, the counts and what the devices saw
// are compared.

import { compareMemory, compareStates, type Difference } from "../../packages/core/src/lockstep/difference.ts";
import { programFrom } from "./programs.ts";
import type { EventKind, Guest, GuestMachine, Subject } from "./subject.ts";

/** "stop": a deadline, after which nothing happens. */
export type Injection = EventKind | "stop";
export const INJECTIONS: readonly Injection[] = ["stop", "interrupt", "nmi", "unmap", "protect", "dma"];

/** A program that runs longer than this is cut off: an event can make a loop longer, but hardly endless. */
const MOST_INSTRUCTIONS = 5000;
const MOST_MISMATCHES = 3;
/** Boundaries of one program that events are injected at. */
const MOST_BOUNDARIES = 600;
/**
 * A program that has had so many instructions translated is left behind where it stands, and the next one's turn comes:
 * a few change so much of their code in each round that they would take minutes. Looked at after so many instructions.
 */
const MOST_TRANSLATED = 20_000;
const STEP = 500;
/** Likewise one that has run so many, where the subject says nothing else. */
const MOST_RETIRED = 400_000;

export interface Mismatch {
  readonly guest: string;
  readonly subjects: readonly [string, string];
  readonly injection: Injection;
  /** The boundary of the injection, and where the difference showed. */
  readonly at: number;
  readonly retired: number;
  readonly differences: readonly Difference[];
}

/** Instructions that the program runs without events. */
export function lengthOf(machine: GuestMachine): number {
  machine.reset();
  machine.advance(MOST_INSTRUCTIONS);
  return machine.retired;
}

export interface BoundaryRun {
  readonly boundaries: number;
  readonly instructions: number;
  readonly mismatch: Mismatch | undefined;
}

/**
 * Injects at each boundary one of `injections`, which take turns, or all of them. Ends with the first mismatch.
 * `reference` and `subject` are kept between the boundaries: their code is warm.
 */
export function runBoundaries(
  guest: Guest,
  reference: Subject,
  subject: Subject,
  injections: readonly Injection[],
  every: "each" | "all",
): BoundaryRun {
  const [right, tried] = [reference.load(guest), subject.load(guest)];
  const boundaries = Math.min(MOST_BOUNDARIES, lengthOf(right));
  let instructions = 0;
  for (let at = 0; at <= boundaries; at++) {
    if (tried.translated > MOST_TRANSLATED || instructions > (subject.mostRetired ?? MOST_RETIRED))
      return { boundaries: at, instructions, mismatch: undefined };
    const here = every === "all" ? injections : [injections[at % injections.length]!];
    for (const injection of here) {
      const found = runWith(right, tried, at, injection);
      instructions += tried.retired;
      if (!found) continue;
      const subjects = [reference.name, subject.name] as const;
      const mismatch = { guest: guest.name, subjects, injection, at, ...found };
      return { boundaries: at, instructions, mismatch };
    }
  }
  return { boundaries, instructions, mismatch: undefined };
}

type Found = Pick<Mismatch, "retired" | "differences">;

/** One run with one event. */
export function runWith(right: GuestMachine, tried: GuestMachine, at: number, injection: Injection): Found | undefined {
  for (const machine of [right, tried]) {
    machine.reset();
    machine.advance(at);
  }
  const before = compare(right, tried);
  if (before) return before;
  for (const machine of [right, tried]) {
    if (injection !== "stop") machine.raise(injection);
  }
  right.advance(runOn(tried) ? MOST_INSTRUCTIONS : tried.retired);
  return compare(right, tried);
}

/** False: given up before its end. */
function runOn(machine: GuestMachine): boolean {
  while (machine.retired < MOST_INSTRUCTIONS) {
    if (machine.translated > MOST_TRANSLATED) return false;
    if (!machine.advance(Math.min(machine.retired + STEP, MOST_INSTRUCTIONS))) return true;
  }
  return true;
}

export function compare(right: GuestMachine, tried: GuestMachine): Found | undefined {
  const [first, second] = [right.state(), tried.state()];
  const sameRam = Buffer.compare(right.ram, tried.ram) === 0;
  if (sameRam && right.trace === tried.trace && isSame(first, second)) return undefined;
  const differences = [...compareStates(first, second), ...(sameRam ? [] : compareMemory(right.ram, tried.ram))];
  if (right.trace !== tried.trace)
    differences.push({ field: "device accesses", first: String(right.trace), second: String(tried.trace) });
  return { retired: right.retired, differences };
}

/** Equality of plain data: numbers, strings, bytes, lists and records of them. */
function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  for (const key of keys)
    if (!isSame((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key])) return false;
  return true;
}

export function formatMismatch(mismatch: Mismatch): string {
  const { guest, subjects, injection, at, retired, differences } = mismatch;
  const lines = differences.map(
    ({ field, first, second }) => `  ${field}: ${first} on ${subjects[0]}, ${second} on ${subjects[1]}`,
  );
  return [`program "${guest}", ${injection} after ${at}: differs after ${retired} instructions`, ...lines].join("\n");
}

export interface SeededBoundaries {
  readonly programs: number;
  readonly boundaries: number;
  readonly mismatches: readonly Mismatch[];
}

/** Programs "seed/0", "seed/1" and so on, until `boundaries` boundaries have been tried, or a few mismatches were found. */
export function runSeed(
  seed: string,
  boundaries: number,
  ...how: [reference: Subject, subject: Subject, injections: readonly Injection[], every: "each" | "all"]
): SeededBoundaries {
  const mismatches: Mismatch[] = [];
  let [done, programs] = [0, 0];
  for (; done < boundaries && mismatches.length < MOST_MISMATCHES; programs++) {
    const run = runBoundaries(programFrom(`${seed}/${programs}`), ...how);
    done += run.boundaries;
    if (run.mismatch) mismatches.push(run.mismatch);
  }
  return { programs, boundaries: done, mismatches };
}
