/**
 * The screen and the keyboard of a VM, from outside: what the machine's thread says of the screen, as text and as a picture,
 * and keys that enter through the machine's event log.
 */
import {
  KEYBOARD_CHANNEL,
  type KeyboardLayout,
  KeyError,
  pressedKeys,
  type ScreenImage,
  typedText,
} from "@twinmetal/core";
import { encodePng } from "./png.ts";
import type { Screen } from "./vm.ts";
import { VmError } from "./vm-error.ts";

const LOOK_AGAIN_MS = 50;

export interface ScreenBackend {
  /** False: there is none. */
  readonly hasScreen: boolean;
  image(): Promise<ScreenImage | undefined>;
  text(): Promise<readonly string[] | undefined>;
  send(channel: string, bytes: Uint8Array): void;
  /** Why the guest has ended, once it has. */
  ended(): string | undefined;
}

export class VmScreen implements Screen {
  readonly #backend: ScreenBackend;

  constructor(backend: ScreenBackend) {
    this.#backend = backend;
  }

  async image(): Promise<ScreenImage> {
    this.#require();
    const image = await this.#backend.image();
    if (!image) throw noScreen();
    return image;
  }

  async png(): Promise<Uint8Array> {
    return encodePng(await this.image());
  }

  async text(): Promise<readonly string[] | undefined> {
    this.#require();
    return await this.#backend.text();
  }

  async waitFor(
    pattern: string | RegExp,
    options: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<readonly string[]> {
    const { timeoutMs = Number.POSITIVE_INFINITY, signal } = options;
    const plain =
      typeof pattern === "string" ? pattern : new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ""));
    const deadlineMs = performance.now() + timeoutMs;
    for (let shown: readonly string[] | undefined; ; ) {
      signal?.throwIfAborted();
      const ended = this.#backend.ended();
      if (ended === undefined) shown = (await this.text()) ?? [];
      const text = (shown ?? []).join("\n");
      if (typeof plain === "string" ? text.includes(plain) : plain.test(text)) return shown ?? [];
      if (ended !== undefined)
        throw new VmError("guest-ended", `The guest ended before its screen showed ${String(pattern)}: ${ended}.`);
      if (performance.now() >= deadlineMs) {
        throw new VmError(
          "timeout",
          `The screen did not show ${String(pattern)} within ${timeoutMs / 1000} s. It shows: ${JSON.stringify(text)}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
  }

  /** Throws VmError. */
  type(text: string, layout: KeyboardLayout = "us"): void {
    this.#send(() => typedText(text, layout));
  }

  /** Throws VmError. */
  press(keys: string): void {
    this.#send(() => pressedKeys(keys));
  }

  #send(bytes: () => Uint8Array): void {
    this.#require();
    try {
      this.#backend.send(KEYBOARD_CHANNEL, bytes());
    } catch (error) {
      throw error instanceof KeyError ? new VmError("bad-key", error.message, { cause: error }) : error;
    }
  }

  #require(): void {
    if (!this.#backend.hasScreen) throw noScreen();
  }
}

function noScreen(): VmError {
  return new VmError(
    "no-screen",
    'This VM has neither a screen nor a keyboard. Create it with them: --vga std, or the option vga: "std".',
  );
}
