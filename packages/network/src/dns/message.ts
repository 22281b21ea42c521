/**
 * DNS messages (RFC 1035, 4), as far as a proxy reads and writes them: one question; answers with addresses. Names are
 * compared in lower case. GUEST-CONTROLLED: every byte; compression pointers are refused in questions, where none belong.
 */
import { type IpAddress, parseIpAddress, putAddress } from "../address.ts";
import { putU16, putU32 } from "../ip/packet.ts";

export const TYPE = { A: 1, PTR: 12, AAAA: 28, SVCB: 64, HTTPS: 65, ANY: 255 } as const;
export const RCODE = { NONE: 0, FORMAT: 1, FAILURE: 2, NO_NAME: 3, NOT_IMPLEMENTED: 4, REFUSED: 5 } as const;
const HEADER_BYTES = 12;
const CLASS_IN = 1;
const MAX_NAME_BYTES = 255;
const MAX_LABEL_BYTES = 63;
export const MAX_UDP_BYTES = 512;
const TTL_SECONDS = 60;

export interface Question {
  readonly id: number;
  /** Without the last dot, in lower case; bytes that are no letters, digits, hyphens or underscores as they are. */
  readonly name: string;
  readonly type: number;
  /** Header and question, to be given back with an answer. */
  readonly bytes: Uint8Array;
}

/** Undefined: no query with one question of the Internet's class. */
export function parseQuestion(message: Uint8Array): Question | undefined {
  if (message.length < HEADER_BYTES) return undefined;
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  const isQuery = (message[2]! & 0xf8) === 0;
  if (!isQuery || view.getUint16(4) !== 1 || view.getUint16(6) !== 0) return undefined;
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (;;) {
    const length = message[at];
    if (length === undefined || length > MAX_LABEL_BYTES || at - HEADER_BYTES + length > MAX_NAME_BYTES)
      return undefined;
    at++;
    if (length === 0) break;
    if (at + length > message.length) return undefined;
    labels.push(String.fromCharCode(...message.subarray(at, at + length)));
    at += length;
  }
  if (at + 4 > message.length || view.getUint16(at + 2) !== CLASS_IN) return undefined;
  const name = labels.join(".").toLowerCase();
  return { id: view.getUint16(0), name, type: view.getUint16(at), bytes: message.subarray(0, at + 4) };
}

/**
 * Letters, digits, hyphens and underscores: what a host's resolver is asked for. Of others it makes other names: it stops at
 * a NUL, and leaves out or translates letters that IDNA does not keep.
 */
export function isHostName(name: string): boolean {
  return name.length <= 253 && /^([a-z0-9_-]+\.)*[a-z0-9_-]+$/.test(name);
}

/** The address that a PTR question (RFC 1035, 3.5; RFC 3596, 2.5) is about. */
export function addressOfPointer(name: string): IpAddress | undefined {
  const [, v4] = /^(.*)\.in-addr\.arpa$/.exec(name) ?? [];
  if (v4 !== undefined) return parseIpAddress(v4.split(".").reverse().join("."));
  const [, v6] = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name) ?? [];
  if (v6 === undefined) return undefined;
  const digits = v6.replaceAll(".", "");
  const groups = [...digits].reverse().join("").match(/.{4}/g)!;
  return parseIpAddress(groups.join(":"));
}

/** An answer with a result code, and with addresses of the question's type. */
export function answerMessage(question: Question, rcode: number, addresses: readonly IpAddress[] = []): Uint8Array {
  const each = 12 + (addresses[0]?.length ?? 0);
  const message = new Uint8Array(question.bytes.length + each * addresses.length);
  message.set(question.bytes);
  message[2] = 0x80 | (question.bytes[2]! & 1); // A response; recursion desired as it was.
  message[3] = 0x80 | rcode; // Recursion available.
  putU16(message, 6, addresses.length);
  putU16(message, 8, 0);
  putU16(message, 10, 0);
  let at = question.bytes.length;
  for (const address of addresses) {
    putU16(message, at, 0xc000 | HEADER_BYTES);
    putU16(message, at + 2, question.type);
    putU16(message, at + 4, CLASS_IN);
    putU32(message, at + 6, TTL_SECONDS);
    putU16(message, at + 10, address.length);
    putAddress(message, at + 12, address);
    at += each;
  }
  return message;
}

/** For UDP: cut to what fits, with the bit that says so. */
export function truncated(question: Question): Uint8Array {
  const message = answerMessage(question, RCODE.NONE);
  message[2]! |= 2;
  return message;
}
