/**
 * The source's side of a live migration. The guest runs on while rounds of pages go over; then it stops, what is left
 * follows, and the two sides agree on which of them goes on (docs/migration.md has the states and every failure).
 *
 *   connect --> copy --(few pages left)--> stop --READY--> release --RUNNING--> migrated
 *      |          |                          |                |
 *      +----------+--------------------------+                +--> FAILED, or FATE "returned": the guest goes on here
 *                 |                                           +--> no answer: undecided, the guest stays paused here
 *                 v
 *      the guest goes on here
 *
 * RELEASE is the point: before it was sent the target never runs the guest, after it this side never does on its own.
 */
import { nextStep } from "./convergence.ts";
import { MigrationError, type MigrationObstacle } from "./errors.ts";
import { FRAME, FramedLink, MAX_PAYLOAD_BYTES } from "./frames.ts";
import { type CancelSignal, NEVER_CANCELLED } from "./link.ts";
import {
  decodeAnswer,
  decodeFailure,
  decodeFate,
  decodeRound,
  encodeFailure,
  encodeFinish,
  encodeHello,
  encodeQuery,
  encodeRelease,
  encodeRound,
  type Fate,
  type Hello,
} from "./messages.ts";
import { PAGE_BYTES } from "./page-batch.ts";
import { PageDigest } from "./page-digest.ts";
import { PageSender } from "./page-sender.ts";
import type { MigrateOptions, MigrationProgress, MigrationResult } from "./source-contract.ts";
import {
  lastWords,
  messageOf,
  notConverging,
  REASON_MS,
  ReturnedError,
  receiveNothingElse,
  refused,
  undecided,
} from "./source-endings.ts";
import { cancelled, pause, within } from "./waiting.ts";

/** A stop that takes longer than this many times what was asked for is given up. */
const DOWNTIME_EXCESS = 4;
const MIN_STOP_MS = 2000;
const RETRY_MS = 100;
const MEMORY_OF_RATE = 0.8;

/**
 * Resolves when the guest runs at the target. Rejects with MigrationError: the guest goes on here as it was, unless the
 * code is "undecided" (it stays paused) or "guest-ended".
 */
export async function migrateVm(options: MigrateOptions): Promise<MigrationResult> {
  return await new Migration(options).run();
}

/** Whether the target would take the VM: what speaks against it. Nothing is started. Throws MigrationError where the target cannot be asked. */
export async function probeTarget(options: MigrateOptions): Promise<readonly MigrationObstacle[]> {
  return await new Migration(options).probe();
}

class Migration {
  readonly #options: MigrateOptions;
  readonly #cancel: CancelSignal;
  readonly #startMs: number;
  readonly #marked: Uint8Array;
  readonly #digest: PageDigest;
  #frames: FramedLink | undefined;
  #sender: PageSender | undefined;
  #phase: MigrationProgress["phase"] = "connect";
  #round = 0;
  #rounds = 0;
  #roundPages = 0;
  #roundSent = 0;
  #share = 1;
  #leastShare = 1;
  #isTracking = false;
  #isStopped = false;
  /** The target may hold all of the guest. */
  #mayBeHeld = false;
  #stopMs = 0;
  #stoppedPages = 0;

  constructor(options: MigrateOptions) {
    this.#options = options;
    this.#cancel = options.cancel ?? NEVER_CANCELLED;
    this.#startMs = options.time.nowMs();
    const pages = options.vm.ram.length / PAGE_BYTES;
    this.#marked = new Uint8Array(pages);
    this.#digest = new PageDigest(pages);
  }

  async probe(): Promise<readonly MigrationObstacle[]> {
    const frames = await this.#connect();
    try {
      return await this.#introduce(frames, true);
    } finally {
      frames.close();
    }
  }

  async run(): Promise<MigrationResult> {
    let input: Uint8Array;
    try {
      const frames = await this.#connect();
      this.#frames = frames;
      const obstacles = await this.#introduce(frames, false);
      if (obstacles.length > 0) throw refused(obstacles);
      await this.#copy(frames);
      await this.#stop(frames);
      input = this.#options.vm.takeInput();
      if (this.#cancel.isCancelled) throw cancelled();
    } catch (error) {
      throw await this.#backOut(error);
    }
    return await this.#release(this.#frames!, input);
  }

  async #connect(): Promise<FramedLink> {
    const { connect, time, limits } = this.#options;
    if (this.#cancel.isCancelled) throw cancelled();
    this.#report();
    const frames = new FramedLink(await connect(), time);
    try {
      await frames.sendPreamble(limits.stallMs);
      await frames.receivePreamble(limits.stallMs, this.#cancel);
    } catch (error) {
      frames.close();
      throw error;
    }
    return frames;
  }

  async #introduce(frames: FramedLink, isProbe: boolean): Promise<readonly MigrationObstacle[]> {
    const { vm, id, version, limits } = this.#options;
    const { engine, name, spec, forms } = vm;
    const hello: Hello = { id, isProbe, version, engine, name, spec, forms };
    await frames.send(FRAME.HELLO, encodeHello(hello), limits.stallMs, { cancel: this.#cancel });
    const answer = await this.#receive(frames, FRAME.ANSWER, limits.prepareMs);
    return decodeAnswer(answer).obstacles;
  }

  /** Rounds, until what is left is carried in the time that the guest may stand still. */
  async #copy(frames: FramedLink): Promise<void> {
    const { vm, time, limits } = this.#options;
    this.#phase = "copy";
    this.#isTracking = true;
    await vm.track(true);
    this.#marked.fill(1);
    let pages = this.#marked.length;
    let pagesPerMs = 0;
    this.#sender = this.#makeSender(frames);
    for (;;) {
      const startMs = time.nowMs();
      await this.#carry(frames, pages);
      const carried = Math.max(1, this.#roundSent);
      // A short round says little about the link.
      pagesPerMs = Math.max(carried / Math.max(time.nowMs() - startMs, 0.1), pagesPerMs * MEMORY_OF_RATE);
      this.#marked.fill(0);
      const dirtyPages = await this.#done(vm.takeDirty(this.#marked), limits.stallMs);
      const { maxDowntimeMs, mayThrottle } = limits;
      const round = this.#round;
      const share = this.#share;
      const step = nextStep({ round, pages: carried, dirtyPages, pagesPerMs, share, maxDowntimeMs, mayThrottle });
      if (step.kind === "stop") return;
      if (step.kind === "give-up") throw notConverging(mayThrottle);
      if (step.share !== this.#share) await this.#throttle(step.share);
      pages = dirtyPages;
    }
  }

  #makeSender(frames: FramedLink): PageSender {
    const { vm, time, compressor, limits } = this.#options;
    const { compression, bytesPerSecond, stallMs } = limits;
    const onSent = (pages: number): void => {
      this.#roundSent += pages;
      this.#report();
    };
    const cancel = this.#cancel;
    return new PageSender({
      ram: vm.ram,
      frames,
      time,
      digest: this.#digest,
      compressor,
      compression,
      bytesPerSecond,
      stallMs,
      cancel,
      onSent,
    });
  }

  async #carry(frames: FramedLink, pages: number): Promise<void> {
    const { stallMs } = this.#options.limits;
    const round = ++this.#round;
    this.#rounds++;
    this.#roundPages = pages;
    this.#roundSent = 0;
    await frames.send(FRAME.ROUND, encodeRound(round), stallMs, { cancel: this.#cancel });
    await this.#sender!.send(this.#marked, round > 1);
    await frames.send(FRAME.ROUND_END, encodeRound(round), stallMs, { cancel: this.#cancel });
    const acknowledged = decodeRound(await this.#receive(frames, FRAME.ROUND_ACK, stallMs));
    if (acknowledged !== round)
      throw new MigrationError("bad-peer", "The other side acknowledged another round than was sent.");
  }

  async #throttle(share: number): Promise<void> {
    this.#share = share;
    this.#leastShare = Math.min(this.#leastShare, share);
    await this.#options.vm.throttle(share);
  }

  /** The guest stands still from here on. Ends when the target holds all of it. */
  async #stop(frames: FramedLink): Promise<void> {
    const { vm, time, limits } = this.#options;
    this.#phase = "stop";
    this.#report();
    if (this.#cancel.isCancelled) throw cancelled();
    this.#stopMs = time.nowMs();
    const mostMs = Math.max(MIN_STOP_MS, limits.maxDowntimeMs * DOWNTIME_EXCESS);
    const leftMs = (): number => Math.min(limits.stallMs, this.#stopMs + mostMs - time.nowMs());
    this.#isStopped = true;
    const { sections, isPaused } = await this.#done(vm.stop(this.#marked), mostMs);
    const before = this.#sender!.pages;
    try {
      this.#roundSent = 0;
      this.#roundPages = this.#marked.reduce((sum, isMarked) => sum + isMarked, 0);
      await this.#sender!.send(this.#marked, true);
      this.#stoppedPages = this.#sender!.pages - before;
      if (leftMs() <= 0) throw this.#tooLong();
      if (sections.length > MAX_PAYLOAD_BYTES[FRAME.STATE]) {
        throw new MigrationError(
          "bad-state",
          `The devices' state has ${sections.length} bytes, more than a migration carries.`,
        );
      }
      await frames.send(FRAME.STATE, sections, leftMs(), { cancel: this.#cancel });
      await frames.send(FRAME.FINISH, encodeFinish({ digest: this.#digest.value, isPaused }), leftMs(), {
        cancel: this.#cancel,
      });
      this.#mayBeHeld = true;
      await this.#receive(frames, FRAME.READY, leftMs());
    } catch (error) {
      if (error instanceof MigrationError && error.code === "stalled" && leftMs() < 1) throw this.#tooLong();
      throw error;
    }
  }

  /** What the machine is asked for, unless it does not answer. */
  async #done<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
    const late = (): Error =>
      new MigrationError(
        "bad-state",
        `The VM's machine has not answered for ${timeoutMs / 1000} s. Is its output taken?`,
      );
    return await within(promise, this.#options.time, timeoutMs, late, this.#cancel);
  }

  #tooLong(): MigrationError {
    const { limits, time } = this.#options;
    const stoodMs = Math.round(time.nowMs() - this.#stopMs);
    return new MigrationError(
      "downtime-exceeded",
      `The guest had to stand still for ${stoodMs} ms, far longer than the ${limits.maxDowntimeMs} ms allowed, so it goes on here. Allow more, or try on a faster link.`,
    );
  }

  /** Before RELEASE: the guest goes on here, and the target hears it if it can. Answers the error to throw. */
  async #backOut(error: unknown): Promise<unknown> {
    const frames = this.#frames;
    const { vm } = this.#options;
    const isLost = error instanceof MigrationError && error.code === "link-lost";
    if (frames && !isLost) {
      const reason = error instanceof MigrationError ? error : new MigrationError("peer-failed", messageOf(error));
      const type = reason.code === "cancelled" ? FRAME.CANCEL : FRAME.FAILED;
      // Not waited for: the guest stands still.
      void frames
        .send(type, encodeFailure(reason), REASON_MS)
        .catch(() => {})
        .then(() => frames.close());
    }
    try {
      if (this.#isStopped) await vm.goOn();
      if (this.#share < 1) await vm.throttle(1);
      if (this.#isTracking) await vm.track(false);
    } catch (other) {
      return new MigrationError("guest-ended", `The guest ended before it was at the target: ${messageOf(other)}`, {
        cause: other,
      });
    }
    const reason = frames && isLost ? await lastWords(frames, error) : error;
    // A target that holds the guest, and has not heard, gives it up when it is asked.
    if (this.#mayBeHeld) await this.#ask(this.#options.id);
    return reason;
  }

  async #release(frames: FramedLink, input: Uint8Array): Promise<MigrationResult> {
    const { time, limits, id } = this.#options;
    this.#phase = "release";
    this.#report();
    let why: unknown;
    try {
      // From here on a wish to cancel comes too late.
      const stoodUs = (time.nowMs() - this.#stopMs) * 1000;
      await frames.send(FRAME.RELEASE, encodeRelease({ input, stoodUs }), limits.stallMs);
      await receiveNothingElse(frames, limits.stallMs);
      return await this.#migrated();
    } catch (error) {
      if (error instanceof ReturnedError) throw await this.#returned(error.reason);
      why = error;
    } finally {
      frames.close();
    }
    const deadlineMs = time.nowMs() + limits.decideMs;
    for (;;) {
      const fate = await this.#ask(id);
      if (fate === "running") return await this.#migrated();
      if (fate === "returned") throw await this.#returned(messageOf(why));
      if (time.nowMs() >= deadlineMs || this.#cancel.isCancelled) throw undecided(messageOf(why));
      await pause(time, RETRY_MS);
    }
  }

  async #ask(id: Uint8Array): Promise<Fate> {
    const { limits, connect, time } = this.#options;
    let frames: FramedLink | undefined;
    try {
      frames = new FramedLink(await connect(), time);
      const timeoutMs = Math.min(limits.stallMs, limits.decideMs);
      await frames.sendPreamble(timeoutMs);
      await frames.receivePreamble(timeoutMs);
      await frames.send(FRAME.QUERY, encodeQuery(id), timeoutMs);
      return decodeFate((await frames.receive([FRAME.FATE], timeoutMs)).payload);
    } catch {
      return "unknown";
    } finally {
      frames?.close();
    }
  }

  async #migrated(): Promise<MigrationResult> {
    const { vm, time } = this.#options;
    const nowMs = time.nowMs();
    await vm.give().catch(() => {}); // A machine that has ended is gone as well.
    this.#phase = "done";
    this.#report();
    return {
      downtimeMs: nowMs - this.#stopMs,
      totalMs: nowMs - this.#startMs,
      rounds: this.#rounds,
      sentBytes: this.#frames!.sentBytes,
      sentPages: this.#sender!.pages,
      zeroPages: this.#sender!.zeroPages,
      stoppedPages: this.#stoppedPages,
      leastShare: this.#leastShare,
    };
  }

  /** The target has said that it never ran the guest, and never will. */
  async #returned(why: string): Promise<MigrationError> {
    const error = new MigrationError(
      "link-lost",
      `The migration failed at its last step (${why}) and the target has given the VM back: it goes on here.`,
    );
    this.#frames = undefined;
    this.#mayBeHeld = false;
    return (await this.#backOut(error)) as MigrationError;
  }

  async #receive(
    frames: FramedLink,
    type: (typeof FRAME)["ANSWER" | "ROUND_ACK" | "READY"],
    timeoutMs: number,
  ): Promise<Uint8Array> {
    const frame = await frames.receive([type], timeoutMs, this.#cancel);
    if (frame.type === type) return frame.payload;
    throw decodeFailure(frame.payload, frame.type === FRAME.CANCEL);
  }

  #report(): void {
    this.#options.onProgress?.({
      phase: this.#phase,
      round: this.#round,
      sentBytes: this.#frames?.sentBytes ?? 0,
      sentPages: this.#sender?.pages ?? 0,
      leftPages: Math.max(0, this.#roundPages - this.#roundSent),
      roundPages: this.#roundPages,
      share: this.#share,
    });
  }
}
