/**
 * The user's terminal while a guest has it: raw mode, so that every key reaches the guest, and back to what it was
 * whatever happens: the guest's end, an error, a signal, or being stopped and continued from outside. Ctrl-] is the one
 * key that stays here.
 */
import type { Io } from "./command.ts";
import { LineFeeds } from "./line-feeds.ts";
import { TerminalModes } from "./terminal-modes.ts";

const CTRL_RIGHT_BRACKET = 0x1d;

export interface TerminalListener {
  /** Bytes for the guest. */
  onInput(bytes: Uint8Array): void;
  onLeave(): void;
  onResize(): void;
}

export class RawTerminal {
  readonly #io: Io;
  readonly #modes = new TerminalModes();
  readonly #lineFeeds = new LineFeeds();
  readonly #disposers: (() => void)[] = [];
  #isRaw = false;

  constructor(io: Io) {
    this.#io = io;
  }

  enter(listener: TerminalListener): void {
    const { stdin } = this.#io;
    const onData = (data: Buffer): void => {
      const leave = data.indexOf(CTRL_RIGHT_BRACKET);
      const bytes = leave < 0 ? data : data.subarray(0, leave);
      if (bytes.length > 0) listener.onInput(new Uint8Array(bytes));
      if (leave >= 0) listener.onLeave();
    };
    // The terminal went away: a hang-up without the signal.
    const onEnd = (): void => listener.onLeave();
    const onExit = (): void => this.leave();
    this.#setRaw(true);
    stdin.on("data", onData).on("end", onEnd).on("error", onEnd);
    process.on("exit", onExit);
    this.#disposers.push(
      () => stdin.off("data", onData).off("end", onEnd).off("error", onEnd).pause(),
      () => process.off("exit", onExit),
      this.#io.onSignal("SIGWINCH", () => listener.onResize()),
      this.#io.onSignal("SIGTSTP", () => {
        this.#setRaw(false);
        this.#io.stopProcess();
      }),
      this.#io.onSignal("SIGCONT", () => {
        this.#setRaw(true);
        listener.onResize();
      }),
    );
  }

  /** What the guest writes passes through here on its way to the terminal. */
  forTerminal(bytes: Uint8Array): Uint8Array {
    this.#modes.observe(bytes);
    return this.#isRaw && this.#io.stdout.isTTY ? this.#lineFeeds.translate(bytes) : bytes;
  }

  /** Idempotent, and synchronous up to the write, so that it works at the process's exit. */
  leave(): void {
    for (const dispose of this.#disposers.splice(0)) dispose();
    if (!this.#isRaw) return;
    this.#setRaw(false);
    const { stdout } = this.#io;
    if (stdout.isTTY) stdout.write(`${this.#modes.restoring()}\x1b[0m`);
  }

  #setRaw(isRaw: boolean): void {
    this.#isRaw = isRaw;
    try {
      this.#io.stdin.setRawMode?.(isRaw);
    } catch {
      // EIO: the terminal is gone, and with it what could be restored.
    }
  }
}
