/**
 * Line feeds for a terminal whose raw mode still turns each into carriage return and line feed, as Node's does. A guest
 * that ends its lines with both is shown right; one that draws means a bare line feed as "down, in this column", which
 * is sent as IND (ESC D), and that no terminal driver touches.
 */

const CR = 0x0d;
const LF = 0x0a;
const IND = [0x1b, 0x44] as const;

export class LineFeeds {
  #last = 0;

  translate(bytes: Uint8Array): Uint8Array {
    let bare = 0;
    let last = this.#last;
    for (const byte of bytes) {
      if (byte === LF && last !== CR) bare++;
      last = byte;
    }
    const result = bare === 0 ? bytes : new Uint8Array(bytes.length + bare);
    if (bare > 0) {
      let at = 0;
      let before = this.#last;
      for (const byte of bytes) {
        if (byte === LF && before !== CR) {
          result.set(IND, at);
          at += IND.length;
        } else result[at++] = byte;
        before = byte;
      }
    }
    this.#last = last;
    return result;
  }
}
