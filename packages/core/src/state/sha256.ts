/**
 * SHA-256 (FIPS 180-4), incremental and synchronous: state files and state hashes are written from the vCPU's own thread,
 * where the hosts' hash functions are either absent or asynchronous. The message length is bounded at 2^53 - 1 bits.
 */

const BLOCK_BYTES = 64;
const PAGE_BYTES = 4096;
export const SHA256_BYTES = 32;

/** FIPS 180-4, 4.2.2: the first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const K: Int32Array = fractionalRoots(64, Math.cbrt);
/** FIPS 180-4, 5.3.3: likewise of the square roots of the first eight primes. */
const INITIAL: Int32Array = fractionalRoots(8, Math.sqrt);

/** Exact: 32 fraction bits and at most 5 integer bits fit a double's 53 with 16 to spare; the result is then checked exactly. */
function fractionalRoots(count: number, root: (n: number) => number): Int32Array {
  const out = new Int32Array(count);
  const power = root === Math.cbrt ? 3n : 2n;
  for (let n = 2, filled = 0; filled < count; n++) {
    if (!isPrime(n)) continue;
    let fixed = BigInt(Math.floor(root(n) * 2 ** 32));
    const target = BigInt(n) << (32n * power);
    while (fixed ** power > target) fixed--;
    while ((fixed + 1n) ** power <= target) fixed++;
    out[filled++] = Number(BigInt.asIntN(32, fixed));
  }
  return out;
}

function isPrime(n: number): boolean {
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return true;
}

/** A hash function at work. `digest` ends it. */
export interface StreamHash {
  update(bytes: Uint8Array): unknown;
  digest(): Uint8Array;
}

export class Sha256 implements StreamHash {
  readonly #hash = INITIAL.slice();
  readonly #schedule = new Int32Array(64);
  readonly #block = new Uint8Array(BLOCK_BYTES);
  #filled = 0;
  #lengthBytes = 0;

  update(bytes: Uint8Array): this {
    this.#lengthBytes += bytes.length;
    let at = 0;
    if (this.#filled > 0) {
      at = Math.min(BLOCK_BYTES - this.#filled, bytes.length);
      this.#block.set(bytes.subarray(0, at), this.#filled);
      this.#filled += at;
      if (this.#filled < BLOCK_BYTES) return this;
      compress(this.#hash, this.#schedule, this.#block, 0, BLOCK_BYTES);
      this.#filled = 0;
    }
    const whole = at + (bytes.length - at - ((bytes.length - at) % BLOCK_BYTES));
    // In calls of a page: engines optimise between calls rather than within one.
    for (; at < whole; at += PAGE_BYTES) {
      compress(this.#hash, this.#schedule, bytes, at, Math.min(at + PAGE_BYTES, whole));
    }
    at = whole;
    this.#block.set(bytes.subarray(at), 0);
    this.#filled = bytes.length - at;
    return this;
  }

  /** The hash of everything so far. The object must not be used afterwards. */
  digest(): Uint8Array {
    const bits = this.#lengthBytes * 8;
    this.#block[this.#filled++] = 0x80;
    this.#block.fill(0, this.#filled);
    if (this.#filled > BLOCK_BYTES - 8) {
      compress(this.#hash, this.#schedule, this.#block, 0, BLOCK_BYTES);
      this.#block.fill(0);
    }
    const tail = new DataView(this.#block.buffer);
    tail.setUint32(BLOCK_BYTES - 8, Math.floor(bits / 2 ** 32));
    tail.setUint32(BLOCK_BYTES - 4, bits >>> 0);
    compress(this.#hash, this.#schedule, this.#block, 0, BLOCK_BYTES);
    const out = new Uint8Array(SHA256_BYTES);
    const view = new DataView(out.buffer);
    for (let i = 0; i < 8; i++) view.setInt32(i * 4, this.#hash[i]!);
    return out;
  }
}

/** Whole blocks [at, end) into `h`. */
function compress(h: Int32Array, w: Int32Array, bytes: Uint8Array, at: number, end: number): void {
  const k = K;
  let h0 = h[0]! | 0;
  let h1 = h[1]! | 0;
  let h2 = h[2]! | 0;
  let h3 = h[3]! | 0;
  let h4 = h[4]! | 0;
  let h5 = h[5]! | 0;
  let h6 = h[6]! | 0;
  let h7 = h[7]! | 0;
  while (at < end) {
    for (let i = 0; i < 16; i++, at += 4) {
      w[i] = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
    }
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15]! | 0;
      const y = w[i - 2]! | 0;
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = (w[i - 16]! + s0 + w[i - 7]! + s1) | 0;
    }
    let a = h0;
    let b = h1;
    let c = h2;
    let d = h3;
    let e = h4;
    let f = h5;
    let g = h6;
    let last = h7;
    for (let i = 0; i < 64; i++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (last + s1 + ((e & f) ^ (~e & g)) + k[i]! + w[i]!) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      last = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    h0 = (h0 + a) | 0;
    h1 = (h1 + b) | 0;
    h2 = (h2 + c) | 0;
    h3 = (h3 + d) | 0;
    h4 = (h4 + e) | 0;
    h5 = (h5 + f) | 0;
    h6 = (h6 + g) | 0;
    h7 = (h7 + last) | 0;
  }
  h[0] = h0;
  h[1] = h1;
  h[2] = h2;
  h[3] = h3;
  h[4] = h4;
  h[5] = h5;
  h[6] = h6;
  h[7] = h7;
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return new Sha256().update(bytes).digest();
}

export function toHex(bytes: Uint8Array): string {
  let out = "";
  for (const byte of bytes) out += byte.toString(16).padStart(2, "0");
  return out;
}
