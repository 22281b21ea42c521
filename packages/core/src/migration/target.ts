/**
 * The target's side of a live migration (docs/migration.md).
 *
 *   greet --> prepare --> fill --FINISH--> ready --RELEASE--> running
 *     |          |          |                |
 *     +----------+----------+                +--> link lost: held. It runs when its operator says so, or goes when the
 *                |                                source asks for it.
 *                v
 *             discarded
 *
 * Nothing runs before RELEASE. What was discarded never runs: the answer to whoever asks is "returned".
 */
import type { MachineSpec } from "../machine/spec.ts";
import { MigrationError, type MigrationObstacle } from "./errors.ts";
import { FRAME, type Frame, FramedLink, type FrameType } from "./frames.ts";
import {
  type CancelSignal,
  type MigrationLink,
  type MigrationTime,
  NEVER_CANCELLED,
  type PageCompressor,
} from "./link.ts";
import {
  decodeFailure,
  decodeFinish,
  decodeHello,
  decodeQuery,
  decodeRelease,
  decodeRound,
  encodeAnswer,
  encodeFailure,
  encodeFate,
  encodeRound,
  type Fate,
  type Hello,
  type Release,
} from "./messages.ts";
import { decodePages, PAGE_BYTES } from "./page-batch.ts";
import { PageDigest } from "./page-digest.ts";

/** A machine that was built for a VM that comes. Its RAM is zero. */
export interface IncomingVm {
  readonly ram: Uint8Array;
  /** Takes over everything but RAM, which is there by then. Rejects with what is wrong with it. */
  adopt(sections: Uint8Array): Promise<void>;
  /** After `adopt`: the guest goes on, unless it was paused. */
  run(release: Release, isPaused: boolean): Promise<void>;
  /** It never runs. Does not reject. */
  discard(): Promise<void>;
}

export interface Destination {
  readonly version: string;
  readonly engine: string;
  /** Builds a machine for it, or tells what speaks against that. */
  prepare(hello: Hello): Promise<IncomingVm | readonly MigrationObstacle[]>;
  /** What has become of an attempt. "held": take it back and answer "returned". */
  fateOf(id: Uint8Array): Promise<Fate>;
  /** Told before RELEASE can have any effect, and of what follows. */
  onFate(id: Uint8Array, fate: "held" | "running" | "returned"): void;
}

/** A whole VM whose source was lost before it said who goes on. */
export interface HeldVm {
  readonly id: Uint8Array;
  readonly spec: MachineSpec;
  readonly isPaused: boolean;
  readonly vm: IncomingVm;
}

export type Reception =
  /** A question was answered. */
  | { readonly kind: "answered" }
  | { readonly kind: "running"; readonly hello: Hello; readonly vm: IncomingVm }
  | { readonly kind: "held"; readonly held: HeldVm; readonly why: MigrationError };

export interface ReceiveOptions {
  readonly link: MigrationLink;
  readonly destination: Destination;
  readonly time: MigrationTime;
  readonly compressor: PageCompressor;
  readonly stallMs: number;
  /** A peer that says nothing to begin with. */
  readonly greetMs: number;
  readonly cancel?: CancelSignal;
  readonly onProgress?: (progress: { readonly round: number; readonly pages: number }) => void;
}

const REASON_MS = 500;

/** One connection of a peer, to its end. Rejects with MigrationError when it came to nothing: the VM is discarded then. */
export async function receiveVm(options: ReceiveOptions): Promise<Reception> {
  const frames = new FramedLink(options.link, options.time);
  let isLingering = false;
  try {
    return await new Receiver(options, frames).run();
  } catch (error) {
    isLingering = true;
    const reason =
      error instanceof MigrationError ? error : new MigrationError("peer-failed", messageOf(error), { cause: error });
    void frames
      .send(reason.code === "cancelled" ? FRAME.CANCEL : FRAME.FAILED, encodeFailure(reason), REASON_MS)
      .catch(() => {})
      .then(() => frames.close());
    throw reason;
  } finally {
    if (!isLingering) frames.close();
  }
}

class Receiver {
  readonly #options: ReceiveOptions;
  readonly #frames: FramedLink;
  readonly #cancel: CancelSignal;

  constructor(options: ReceiveOptions, frames: FramedLink) {
    this.#options = options;
    this.#frames = frames;
    this.#cancel = options.cancel ?? NEVER_CANCELLED;
  }

  async run(): Promise<Reception> {
    const { destination, greetMs, stallMs } = this.#options;
    const frames = this.#frames;
    // Whoever only looks whether somebody listens says nothing.
    if (!(await frames.hasMore(greetMs, this.#cancel))) return { kind: "answered" };
    await frames.receivePreamble(greetMs, this.#cancel);
    await frames.sendPreamble(stallMs);
    const first = await this.#receive([FRAME.HELLO, FRAME.QUERY], greetMs);
    if (first.type === FRAME.QUERY) {
      const fate = await destination.fateOf(decodeQuery(first.payload));
      await frames.send(FRAME.FATE, encodeFate(fate), stallMs);
      return { kind: "answered" };
    }
    const hello = decodeHello(first.payload);
    const { version, engine } = destination;
    const prepared = await destination.prepare(hello);
    if (hello.isProbe && !isRefusal(prepared)) await prepared.discard();
    if (hello.isProbe || isRefusal(prepared)) {
      const obstacles = isRefusal(prepared) ? prepared : [];
      await frames.send(FRAME.ANSWER, encodeAnswer({ version, engine, obstacles }), stallMs);
      return { kind: "answered" };
    }
    return await this.#take(hello, prepared);
  }

  async #take(hello: Hello, vm: IncomingVm): Promise<Reception> {
    const { destination, stallMs } = this.#options;
    const { id, spec } = hello;
    let isPaused: boolean;
    try {
      const { version, engine } = destination;
      await this.#frames.send(FRAME.ANSWER, encodeAnswer({ version, engine, obstacles: [] }), stallMs);
      isPaused = await this.#fill(vm);
      destination.onFate(id, "held");
    } catch (error) {
      destination.onFate(id, "returned");
      await vm.discard();
      throw error;
    }
    let released: Release;
    try {
      await this.#frames.send(FRAME.READY, new Uint8Array(0), stallMs);
      const release = await this.#frames.receive([FRAME.RELEASE], stallMs);
      if (release.type !== FRAME.RELEASE) throw decodeFailure(release.payload, release.type === FRAME.CANCEL);
      released = decodeRelease(release.payload);
    } catch (error) {
      const why = error as MigrationError;
      // A source that says so, or talks nonsense, has not released. One that is lost may have.
      if (why.code !== "link-lost" && why.code !== "stalled" && why.code !== "corrupt") {
        destination.onFate(id, "returned");
        await vm.discard();
        throw why;
      }
      return { kind: "held", held: { id, spec, isPaused, vm }, why };
    }
    try {
      await vm.run(released, isPaused);
    } catch (error) {
      destination.onFate(id, "returned");
      await vm.discard();
      throw error;
    }
    destination.onFate(id, "running");
    // A source that does not hear it asks.
    await this.#frames.send(FRAME.RUNNING, new Uint8Array(0), stallMs).catch(() => {});
    return { kind: "running", hello, vm };
  }

  /** RAM and state, to the point where nothing is missing. Whether the guest was paused. */
  async #fill(vm: IncomingVm): Promise<boolean> {
    const { stallMs, compressor, onProgress } = this.#options;
    const { ram } = vm;
    const ramPages = ram.length / PAGE_BYTES;
    const digest = new PageDigest(ramPages);
    let round = 0;
    let pages = 0;
    let hasState = false;
    for (;;) {
      const frame = await this.#receive(
        [FRAME.ROUND, FRAME.PAGES, FRAME.ROUND_END, FRAME.STATE, FRAME.FINISH],
        stallMs,
      );
      switch (frame.type) {
        case FRAME.ROUND:
          if (decodeRound(frame.payload) !== ++round) throw outOfOrder();
          onProgress?.({ round, pages });
          break;
        case FRAME.PAGES: {
          const { entries, bytes } = await decodePages(frame.payload, ramPages, compressor);
          for (const [i, { page }] of entries.entries()) {
            if (bytes) ram.set(bytes.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES), page * PAGE_BYTES);
            else ram.fill(0, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
          }
          digest.note(entries);
          pages += entries.length;
          break;
        }
        case FRAME.ROUND_END:
          if (decodeRound(frame.payload) !== round) throw outOfOrder();
          await this.#frames.send(FRAME.ROUND_ACK, encodeRound(round), stallMs);
          break;
        case FRAME.STATE:
          if (hasState) throw outOfOrder();
          hasState = true;
          await vm.adopt(frame.payload);
          break;
        case FRAME.FINISH: {
          const finish = decodeFinish(frame.payload);
          if (!hasState) throw outOfOrder();
          if (finish.digest !== digest.value) {
            throw new MigrationError("corrupt", "The memory that has arrived is not the memory that was sent.");
          }
          return finish.isPaused;
        }
        default:
          throw outOfOrder();
      }
    }
  }

  async #receive(types: readonly FrameType[], timeoutMs: number): Promise<Frame> {
    const frame = await this.#frames.receive(types, timeoutMs, this.#cancel);
    if (frame.type === FRAME.CANCEL || frame.type === FRAME.FAILED) {
      throw decodeFailure(frame.payload, frame.type === FRAME.CANCEL);
    }
    return frame;
  }
}

function isRefusal(prepared: IncomingVm | readonly MigrationObstacle[]): prepared is readonly MigrationObstacle[] {
  return Array.isArray(prepared);
}

function outOfOrder(): MigrationError {
  return new MigrationError("bad-peer", "The other side sent a frame that does not belong here.");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
