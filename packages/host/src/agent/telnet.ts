/**
 * The little of Telnet that a terminal over a pipe needs (RFC 854; window size RFC 1073): busybox's telnetd is the program in
 * the tiny image that opens a pseudo-terminal for another. The client's side. Options that the server offers or asks for are
 * taken as agreed; none is answered, which telnetd does not mind.
 */

const IAC = 255;
const COMMAND = { SE: 240, SB: 250, WILL: 251, DONT: 254 } as const;
const OPTION_NAWS = 31;
const CARRIAGE_RETURN = 13;

/** A byte of 255 is doubled; a carriage return gets a NUL, or the server would eat a line feed behind it. */
export function encodeTelnet(bytes: Uint8Array): Uint8Array {
  const encoded: number[] = [];
  for (const byte of bytes) {
    encoded.push(byte);
    if (byte === IAC) encoded.push(IAC);
    if (byte === CARRIAGE_RETURN) encoded.push(0);
  }
  return Uint8Array.from(encoded);
}

export function encodeWindowSize(rows: number, columns: number): Uint8Array {
  const sizes = [columns >> 8, columns & 255, rows >> 8, rows & 255];
  const doubled = sizes.flatMap((byte) => (byte === IAC ? [IAC, IAC] : [byte]));
  return Uint8Array.of(IAC, COMMAND.SB, OPTION_NAWS, ...doubled, IAC, COMMAND.SE);
}

type DecoderState = "data" | "command" | "option" | "subnegotiation" | "subnegotiation-command";

/** Takes commands out of a stream, whatever its pieces. */
export class TelnetDecoder {
  #state: DecoderState = "data";

  decode(bytes: Uint8Array): Uint8Array {
    const data = new Uint8Array(bytes.length);
    let length = 0;
    for (const byte of bytes) {
      if (this.#state === "data" && byte !== IAC) data[length++] = byte;
      else if (this.#state === "command" && byte === IAC) {
        data[length++] = byte;
        this.#state = "data";
      } else this.#state = next(this.#state, byte);
    }
    return data.subarray(0, length);
  }
}

function next(state: DecoderState, byte: number): DecoderState {
  switch (state) {
    case "data":
      return "command";
    case "command":
      if (byte === COMMAND.SB) return "subnegotiation";
      return byte >= COMMAND.WILL && byte <= COMMAND.DONT ? "option" : "data";
    case "option":
      return "data";
    case "subnegotiation":
      return byte === IAC ? "subnegotiation-command" : "subnegotiation";
    case "subnegotiation-command":
      return byte === COMMAND.SE ? "data" : "subnegotiation";
  }
}
