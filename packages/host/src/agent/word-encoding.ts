/**
 * Words of the agent protocol (docs/reference/agent-protocol.md, "Words"): any bytes but NUL, written so that a line
 * of them splits at spaces and the guest's shell can decode a word without starting a process. Bytes outside a small
 * safe set become a backslash and three octal digits; the empty word is "-".
 */

import { AgentError } from "./agent-error.ts";

const EMPTY_WORD = "-";
/** Linux refuses a longer single argument or variable (MAX_ARG_STRLEN, 32 pages, with the final NUL). */
export const MAX_WORD_BYTES = 131_071;

const ENCODED_BYTE: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte);
  return /[A-Za-z0-9_./=:,+@%^-]/.test(character) ? character : `\\${byte.toString(8).padStart(3, "0")}`;
});

/** `what` names the word in the error for one that cannot be sent. */
export function encodeWord(word: string | Uint8Array, what: string): string {
  const bytes = typeof word === "string" ? Buffer.from(word, "utf8") : word;
  if (bytes.length > MAX_WORD_BYTES) {
    throw new AgentError(
      "AGENT_BAD_ARGUMENT",
      `${what} is ${bytes.length} bytes long; Linux takes at most ${MAX_WORD_BYTES}. Send the data on standard input or as a file.`,
    );
  }
  if (bytes.includes(0)) {
    throw new AgentError("AGENT_BAD_ARGUMENT", `${what} contains a NUL byte, which no Linux program can be given.`);
  }
  if (bytes.length === 0) return EMPTY_WORD;
  if (bytes.length === 1 && bytes[0] === 0x2d) return "\\055";
  let encoded = "";
  for (const byte of bytes) encoded += ENCODED_BYTE[byte];
  return encoded;
}

/** The reverse, as the guest does it. Returns undefined for what encodeWord never writes. */
export function decodeWord(encoded: string): Uint8Array | undefined {
  if (encoded === EMPTY_WORD) return new Uint8Array(0);
  if (!/^(?:[A-Za-z0-9_./=:,+@%^-]|\\[0-3][0-7]{2})+$/.test(encoded)) return undefined;
  const plain = encoded.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
  return new Uint8Array(Buffer.from(plain, "latin1"));
}
