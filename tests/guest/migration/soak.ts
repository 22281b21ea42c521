// Migrations under a guest that writes all the time, each disturbed in another way from a seed: whatever breaks, exactly
// one copy runs afterwards, and its memory is whole.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type DirtyingGuest, dirtyingKernel, memoryBytesOf } from "./dirtying-guest.ts";
import { FaultyLink, type LinkFault, type MigrationReport, Peer } from "./peers.ts";

export interface SoakOptions {
  /** With a migration's number it says what happens to it. */
  readonly seed: number;
  /** The number of the first one. */
  readonly from?: number;
  /** The number behind the last one. */
  readonly to: number;
  /** Asked before each. */
  readonly isOver?: () => boolean;
}

/** One migration, and what became of it. */
export interface SoakRecord {
  readonly number: number;
  readonly disturbance: string;
  /** "migrated", or an error's code, or who was killed; and how that was settled. */
  readonly outcomes: readonly string[];
  /** Of one that nothing disturbed and that arrived. */
  readonly undisturbed?: MigrationReport;
}

const TOO_SLOW: ReadonlySet<string> = new Set(["downtime-exceeded", "stalled"]);
const DISTURBANCES = ["none", "cut", "stall", "corrupt", "kill-target", "kill-source"] as const;

/** xorshift32: the same disturbance for the same seed and number. */
function randomOf(seed: number, number: number): (below: number) => number {
  let state = Math.imul(seed, 0x9e37_79b1) ^ Math.imul(number + 1, 0x85eb_ca6b) || 1;
  const random = (below: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
  for (let i = 0; i < 4; i++) random(1);
  return random;
}

/** What must never be: two copies, none, or another memory. */
export class SoakFailure extends Error {
  override readonly name = "SoakFailure";
}

/** Throws SoakFailure at the first violation, with the number of the migration. */
export async function soak(
  directory: string,
  guest: DirtyingGuest,
  { seed, from = 0, to, isOver = () => false }: SoakOptions,
  onRecord: (record: SoakRecord) => void,
): Promise<void> {
  const kernel = join(directory, "dirtying");
  await writeFile(kernel, dirtyingKernel(guest));
  const run = new Soak(directory, kernel, guest, seed);
  try {
    await run.begin();
    for (let number = from; number < to && !isOver(); number++) {
      try {
        onRecord(await run.once(number));
      } catch (error) {
        throw new SoakFailure(`migration ${number} of seed ${seed}: ${(error as Error).message}`, { cause: error });
      }
    }
  } finally {
    await run.end();
  }
}

/** How many ended so. */
export function outcomesOf(records: readonly SoakRecord[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const outcome of records.flatMap(({ outcomes }) => outcomes)) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}

class Soak {
  readonly #directory: string;
  readonly #kernel: string;
  readonly #guest: DirtyingGuest;
  readonly #seed: number;
  readonly #peers = new Set<Peer>();
  /** Of the migration under way. */
  #outcomes: string[] = [];
  #current!: Peer;

  constructor(directory: string, kernel: string, guest: DirtyingGuest, seed: number) {
    this.#directory = directory;
    this.#kernel = kernel;
    this.#guest = guest;
    this.#seed = seed;
  }

  async begin(): Promise<void> {
    this.#current = this.#peer();
    await this.#current.ask("start", { kernel: this.#kernel, memoryBytes: memoryBytesOf(this.#guest) });
    await this.#goesOn(this.#current);
  }

  async end(): Promise<void> {
    await Promise.all([...this.#peers].map((peer) => peer.end()));
  }

  async once(number: number): Promise<SoakRecord> {
    const disturbance = DISTURBANCES[number % DISTURBANCES.length]!;
    const random = randomOf(this.#seed, number);
    let undisturbed: MigrationReport | undefined;
    this.#outcomes = [];
    const source = this.#current;
    const target = this.#peer();
    const address = join(this.#directory, `t${number}`);
    const way = join(this.#directory, `p${number}`);
    await target.ask("listen", { address: `unix:${address}`, kernel: this.#kernel, stallMs: 4000 });
    const isKill = disturbance === "kill-source" || disturbance === "kill-target";
    const fault: LinkFault = {
      kind: disturbance === "cut" || disturbance === "stall" || disturbance === "corrupt" ? disturbance : "none",
      direction: random(3) === 0 ? "to-source" : "to-target",
      afterBytes: 0,
      isReachableAgain: random(3) > 0,
    };
    // The answers of a target are short, and the last steps are worth more than their share of the bytes.
    const wholeBytes = this.#guest.pages * 4096 * 1.3;
    const isLate = random(2) === 0;
    const afterBytes =
      fault.direction === "to-source"
        ? random(400)
        : isLate
          ? Math.floor(wholeBytes * 0.7) + random(Math.floor(wholeBytes * 0.5))
          : random(Math.floor(wholeBytes));
    let seenBytes = 0;
    const proxy = await FaultyLink.open(way, address, { ...fault, afterBytes }, (bytes) => {
      seenBytes += bytes;
      if (isKill && seenBytes > afterBytes + (fault.direction === "to-source" ? wholeBytes * 0.75 : 0))
        (disturbance === "kill-source" ? source : target).kill();
    });
    try {
      const options = { stallMs: 4000, decideMs: 3000, maxDowntimeMs: 300 };
      const answer = await source.migrate(`unix:${way}`, options).catch(() => ({ code: "source-gone" }) as const);
      const outcome = "result" in answer && answer.result ? "migrated" : answer.code!;
      this.#outcomes.push(isKill && outcome !== "migrated" ? `${disturbance}: ${outcome}` : outcome);
      if (disturbance === "none") {
        if ("result" in answer && answer.result) undisturbed = answer.result;
        // A host that is busy for seconds may be why, and the guest runs on: counted, and no more than that.
        else if (!TOO_SLOW.has(outcome)) throw new Error(`undisturbed, and yet ${JSON.stringify(answer)}`);
        else this.#outcomes.push(`undisturbed: ${outcome}`);
      }
      await this.#settle(source, target, outcome);
    } finally {
      await proxy.close();
    }
    for (const peer of [...this.#peers]) if (peer !== this.#current) await this.#drop(peer);
    return { number, disturbance, outcomes: this.#outcomes, ...(undisturbed && { undisturbed }) };
  }

  /** Who runs now; what its operator would decide is decided here, where both sides can be seen. */
  async #settle(source: Peer, target: Peer, outcome: string): Promise<void> {
    const running = await this.#running(source, target);
    switch (outcome) {
      case "migrated":
        if (running.length !== 1 || running[0] !== target)
          throw new Error(`${running.length} copies run after a migration`);
        return await this.#goesOn(target);
      case "source-gone": {
        const status = await target.status();
        if (status.state === "running") return await this.#goesOn(target);
        if (running.length > 0) throw new Error("a copy runs that nobody has released");
        if (status.isHeld) {
          this.#outcomes.push("held, and run");
          await target.ask("decide", { choice: "run" });
          return await this.#goesOn(target);
        }
        // It went down with its process, as it would have without a migration.
        this.#outcomes.push("gone with its process");
        return await this.begin();
      }
      case "undecided": {
        if (running.includes(source)) throw new Error("an undecided source runs");
        const isThere = !target.isGone && (await target.status()).state === "running";
        this.#outcomes.push(isThere ? "undecided: runs there" : "undecided: does not run there");
        if (!isThere) await target.end();
        await source.ask("decide", { choice: isThere ? "discard" : "run" });
        return await this.#goesOn(isThere ? target : source);
      }
      default:
        if (running.length !== 1 || running[0] !== source)
          throw new Error(`${running.length} copies run after ${outcome}`);
        return await this.#goesOn(source);
    }
  }

  async #running(...peers: Peer[]): Promise<Peer[]> {
    const found: Peer[] = [];
    for (const peer of peers) {
      if (!peer.isGone && (await peer.status().catch(() => undefined))?.state === "running") found.push(peer);
    }
    return found;
  }

  /** Two more checks of its memory are good. */
  async #goesOn(peer: Peer): Promise<void> {
    this.#current = peer;
    const before = (await peer.status()).output;
    const count = (text: string): number => text.split(".").length;
    const output = await peer.until((text) => text.includes("X") || count(text) >= Math.min(count(before) + 2, 90_000));
    if (output.includes("X")) throw new Error("the guest has found its memory changed");
  }

  #peer(): Peer {
    const peer = new Peer();
    this.#peers.add(peer);
    return peer;
  }

  async #drop(peer: Peer): Promise<void> {
    this.#peers.delete(peer);
    await peer.end();
  }
}
