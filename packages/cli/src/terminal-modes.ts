/**
 * Follows what a guest switches on in the user's terminal (DEC private modes: other screen, mouse, hidden cursor,
 * bracketed paste), so that it can be switched off again when the guest ends in the middle of an editor.
 * Reads CSI ? Pm h and CSI ? Pm l of ECMA-48 and xterm; other sequences need no undoing or are undone by SGR 0.
 */

/** Modes that are on in a terminal nobody has touched: cursor keys and wrap, blinking and visible cursor. */
const ON_BY_DEFAULT: ReadonlySet<number> = new Set([7, 25]);
/** Changed without harm, and not worth undoing: cursor blink. */
const IGNORED: ReadonlySet<number> = new Set([12, 2026]);
const MAX_SEQUENCE = 64;
const MAX_MODES = 64;

export class TerminalModes {
  readonly #changed = new Map<number, boolean>();
  #carry = "";

  /** GUEST-CONTROLLED: bounded in what is kept. */
  observe(bytes: Uint8Array): void {
    const text = this.#carry + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
    for (const [, modes = "", action] of text.matchAll(/\x1b\[\?([\d;]{1,48})([hl])/g)) {
      for (const mode of modes.split(";").map(Number)) this.#set(mode, action === "h");
    }
    const start = text.lastIndexOf("\x1b");
    const tail = start < 0 ? "" : text.slice(start);
    this.#carry = tail.length <= MAX_SEQUENCE && /^\x1b(\[(\?[\d;]*)?)?$/.test(tail) ? tail : "";
  }

  /** What to write so that the terminal is as before. Empty when the guest has changed nothing. */
  restoring(): string {
    const undo = [...this.#changed].map(([mode, isOn]) => `\x1b[?${mode}${isOn ? "l" : "h"}`);
    this.#changed.clear();
    return undo.join("");
  }

  #set(mode: number, isOn: boolean): void {
    if (IGNORED.has(mode)) return;
    if (isOn === ON_BY_DEFAULT.has(mode)) this.#changed.delete(mode);
    else if (this.#changed.size < MAX_MODES) this.#changed.set(mode, isOn);
  }
}
