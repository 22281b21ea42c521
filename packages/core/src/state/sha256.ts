/**
 * SHA-256 (FIPS 180-4), incremental and synchronous: state files and state hashes are written from the vCPU's own thread,
 * where the hosts' hash functions are either absent or asynchronous. The message length is bounded at 2^53 - 1 bits.
 */

const BLOCK_BYTES = 64;
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

export class Sha256 {
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
      this.#compress(this.#block, 0);
      this.#filled = 0;
    }
    for (; at + BLOCK_BYTES <= bytes.length; at += BLOCK_BYTES) this.#compress(bytes, at);
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
      this.#compress(this.#block, 0);
      this.#block.fill(0);
    }
    const tail = new DataView(this.#block.buffer);
    tail.setUint32(BLOCK_BYTES - 8, Math.floor(bits / 2 ** 32));
    tail.setUint32(BLOCK_BYTES - 4, bits >>> 0);
    this.#compress(this.#block, 0);
    const out = new Uint8Array(SHA256_BYTES);
    const view = new DataView(out.buffer);
    for (let i = 0; i < 8; i++) view.setInt32(i * 4, this.#hash[i]!);
    return out;
  }

  #compress(bytes: Uint8Array, at: number): void {
    const w = this.#schedule;
    for (let i = 0; i < 16; i++, at += 4) {
      w[i] = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
    }
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15]!;
      const y = w[i - 2]!;
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = (w[i - 16]! + s0 + w[i - 7]! + s1) | 0;
    }
    const h = this.#hash;
    let [h0, h1, h2, h3, h4, h5, h6, h7] = [h[0]!, h[1]!, h[2]!, h[3]!, h[4]!, h[5]!, h[6]!, h[7]!];
    for (let i = 0; i < 64; i++) {
      const s1 = ((h4 >>> 6) | (h4 << 26)) ^ ((h4 >>> 11) | (h4 << 21)) ^ ((h4 >>> 25) | (h4 << 7));
      const t1 = (h7 + s1 + ((h4 & h5) ^ (~h4 & h6)) + K[i]! + w[i]!) | 0;
      const s0 = ((h0 >>> 2) | (h0 << 30)) ^ ((h0 >>> 13) | (h0 << 19)) ^ ((h0 >>> 22) | (h0 << 10));
      const t2 = (s0 + ((h0 & h1) ^ (h0 & h2) ^ (h1 & h2))) | 0;
      h7 = h6;
      h6 = h5;
      h5 = h4;
      h4 = (h3 + t1) | 0;
      h3 = h2;
      h2 = h1;
      h1 = h0;
      h0 = (t1 + t2) | 0;
    }
    h[0] = h[0]! + h0;
    h[1] = h[1]! + h1;
    h[2] = h[2]! + h2;
    h[3] = h[3]! + h3;
    h[4] = h[4]! + h4;
    h[5] = h[5]! + h5;
    h[6] = h[6]! + h6;
    h[7] = h[7]! + h7;
  }
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return new Sha256().update(bytes).digest();
}

export function toHex(bytes: Uint8Array): string {
  let out = "";
  for (const byte of bytes) out += byte.toString(16).padStart(2, "0");
  return out;
}
