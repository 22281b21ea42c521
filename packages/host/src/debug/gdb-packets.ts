/**
 * The packets of GDB's remote serial protocol (GDB manual, appendix E): `$DATA#CC`, acknowledged by `+` until both sides agree
 * to leave that out, and the single byte 03H, by which GDB interrupts the target. The peer is not trusted: what it sends is
 * bounded, and what is no packet is passed over.
 */

/** Of what comes: more than any packet that a session answers, memory in hexadecimal digits included. */
export const MAX_PACKET_BYTES = 0x10000;

export type GdbInput =
  | { readonly kind: "packet"; readonly data: string }
  | { readonly kind: "interrupt" }
  /** Its checksum is wrong: the other side is to send it again. */
  | { readonly kind: "broken" };

const [DOLLAR, HASH, ESCAPE, INTERRUPT] = [0x24, 0x23, 0x7d, 0x03];

/** Puts packets together from pieces of a stream. `data` has a character for each byte. */
export class GdbPacketReader {
  #state: "between" | "data" | "checksum" = "between";
  #data: number[] = [];
  #sum = 0;
  #isEscaped = false;
  #digits = "";

  push(bytes: Uint8Array): GdbInput[] {
    const inputs: GdbInput[] = [];
    for (const byte of bytes) {
      const input = this.#take(byte);
      if (input) inputs.push(input);
    }
    return inputs;
  }

  #take(byte: number): GdbInput | undefined {
    if (this.#state === "between") {
      if (byte === INTERRUPT) return { kind: "interrupt" };
      if (byte === DOLLAR) this.#begin();
      return undefined;
    }
    if (this.#state === "data") {
      if (byte === DOLLAR && !this.#isEscaped) this.#begin();
      else if (byte === HASH && !this.#isEscaped) this.#state = "checksum";
      else this.#add(byte);
      return undefined;
    }
    this.#digits += String.fromCharCode(byte);
    if (this.#digits.length < 2) return undefined;
    this.#state = "between";
    if (Number.parseInt(this.#digits, 16) !== this.#sum) return { kind: "broken" };
    return { kind: "packet", data: String.fromCharCode(...this.#data) };
  }

  #begin(): void {
    this.#state = "data";
    this.#data = [];
    this.#sum = 0;
    this.#isEscaped = false;
    this.#digits = "";
  }

  #add(byte: number): void {
    this.#sum = (this.#sum + byte) & 0xff;
    if (this.#isEscaped) this.#data.push(byte ^ 0x20);
    else if (byte !== ESCAPE) this.#data.push(byte);
    this.#isEscaped = !this.#isEscaped && byte === ESCAPE;
    if (this.#data.length > MAX_PACKET_BYTES) this.#state = "between";
  }
}

/** `data`: a character for each byte. */
export function gdbPacket(data: string): Buffer {
  const escaped = data.replace(/[#$}*]/g, (char) => `}${String.fromCharCode(char.charCodeAt(0) ^ 0x20)}`);
  const bytes = Buffer.from(escaped, "latin1");
  const sum = bytes.reduce((all, byte) => (all + byte) & 0xff, 0);
  return Buffer.concat([Buffer.from("$"), bytes, Buffer.from(`#${sum.toString(16).padStart(2, "0")}`)]);
}
