/**
 * Hashes a password as Linux keeps it in /etc/shadow: SHA-crypt with SHA-512, "$6$SALT$..." (Ulrich Drepper, "Unix crypt
 * using SHA-256 and SHA-512", 2007), with its default of 5000 rounds. Left out: SHA-256, other numbers of rounds.
 */
import { createHash } from "node:crypto";

const ROUNDS = 5000;
const ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** `salt`: up to 16 letters of the alphabet, what is more is not looked at. */
export function sha512Crypt(password: string, salt: string): string {
  const word = Buffer.from(password, "utf8");
  const grain = Buffer.from(salt.slice(0, 16), "utf8");
  const b = sha512(word, grain, word);
  const bits: Buffer[] = [];
  for (let length = word.length; length > 0; length >>= 1) bits.push(length & 1 ? b : word);
  let digest = sha512(word, grain, repeat(b, word.length), ...bits);
  const p = repeat(sha512(...Array.from({ length: word.length }, () => word)), word.length);
  const s = repeat(sha512(...Array.from({ length: 16 + digest[0]! }, () => grain)), grain.length);
  for (let round = 0; round < ROUNDS; round++) {
    const isOdd = round % 2 === 1;
    const middle = [round % 3 === 0 ? [] : [s], round % 7 === 0 ? [] : [p]].flat();
    digest = sha512(isOdd ? p : digest, ...middle, isOdd ? digest : p);
  }
  return `$6$${grain.toString("utf8")}$${encode(digest)}`;
}

/** Three bytes become four letters, in the order of step 22: each third byte, turned by one from group to group. */
function encode(digest: Buffer): string {
  let text = "";
  for (let i = 0; i < 21; i++) {
    const [a, b, c] = [i, i + 21, i + 42];
    const turned = [[a, b, c] as const, [b, c, a] as const, [c, a, b] as const][i % 3]!;
    text += letters((digest[turned[0]]! << 16) | (digest[turned[1]]! << 8) | digest[turned[2]]!, 4);
  }
  return text + letters(digest[63]!, 2);
}

function letters(value: number, count: number): string {
  return Array.from({ length: count }, (_, index) => ALPHABET[(value >> (6 * index)) & 63]).join("");
}

function repeat(bytes: Buffer, length: number): Buffer {
  return Buffer.alloc(length, bytes.subarray(0, Math.max(1, Math.min(bytes.length, length))));
}

function sha512(...parts: readonly Buffer[]): Buffer {
  const hash = createHash("sha512");
  for (const part of parts) hash.update(part);
  return hash.digest();
}
