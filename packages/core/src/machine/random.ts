/**
 * The machine's own random stream: ChaCha20 (RFC 8439) keyed by the hash of the VM's seed, block after block. Guests get
 * keys from it through virtio-rng, so it has to be a real cipher; its position is part of the state, so that a replay
 * and a restored machine go on with the same bytes.
 */
import type { StateValue } from "../devices/device.ts";
import { StateReader } from "../state/reader.ts";
import { Sha256 } from "../state/sha256.ts";

const BLOCK_BYTES = 64;
const ROUNDS = 20;
/** Keeps this use of the seed apart from any other. */
const PURPOSE = "twinmetal machine random 1";
/** "expand 32-byte k" */
const CONSTANTS = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

export class MachineRandom {
  readonly #initial = new Uint32Array(16);
  readonly #working = new Uint32Array(16);
  readonly #block = new Uint8Array(BLOCK_BYTES);
  /** Of the next block; the block counter and the first nonce word together. */
  #nextBlock = 0;
  #used: number = BLOCK_BYTES;

  constructor(seed: Uint8Array) {
    const key = new DataView(new Sha256().update(new TextEncoder().encode(PURPOSE)).update(seed).digest().buffer);
    this.#initial.set(CONSTANTS);
    for (let i = 0; i < 8; i++) this.#initial[4 + i] = key.getUint32(i * 4, true);
  }

  fill(into: Uint8Array): void {
    for (let at = 0; at < into.length; ) {
      if (this.#used === BLOCK_BYTES) this.#generate();
      const count = Math.min(BLOCK_BYTES - this.#used, into.length - at);
      into.set(this.#block.subarray(this.#used, this.#used + count), at);
      this.#used += count;
      at += count;
    }
  }

  save(): StateValue {
    return { nextBlock: this.#nextBlock, used: this.#used };
  }

  restore(state: StateValue): void {
    const reader = new StateReader(state, "random");
    const nextBlock = reader.int("nextBlock", 0, Number.MAX_SAFE_INTEGER);
    const used = reader.int("used", 0, BLOCK_BYTES);
    reader.end();
    if (nextBlock === 0 && used < BLOCK_BYTES) throw reader.invalid("used", "names bytes of a block before the first");
    this.#nextBlock = nextBlock;
    if (nextBlock > 0) {
      this.#nextBlock--;
      this.#generate();
    }
    this.#used = used;
  }

  #generate(): void {
    const initial = this.#initial;
    initial[12] = this.#nextBlock >>> 0;
    initial[13] = Math.floor(this.#nextBlock / 2 ** 32);
    this.#nextBlock++;
    const x = this.#working;
    x.set(initial);
    for (let round = 0; round < ROUNDS; round += 2) {
      quarter(x, 0, 4, 8, 12);
      quarter(x, 1, 5, 9, 13);
      quarter(x, 2, 6, 10, 14);
      quarter(x, 3, 7, 11, 15);
      quarter(x, 0, 5, 10, 15);
      quarter(x, 1, 6, 11, 12);
      quarter(x, 2, 7, 8, 13);
      quarter(x, 3, 4, 9, 14);
    }
    const out = new DataView(this.#block.buffer);
    for (let i = 0; i < 16; i++) out.setUint32(i * 4, x[i]! + initial[i]!, true);
    this.#used = 0;
  }
}

function quarter(x: Uint32Array, a: number, b: number, c: number, d: number): void {
  x[a]! += x[b]!;
  x[d] = rotate(x[d]! ^ x[a]!, 16);
  x[c]! += x[d]!;
  x[b] = rotate(x[b]! ^ x[c]!, 12);
  x[a]! += x[b]!;
  x[d] = rotate(x[d]! ^ x[a]!, 8);
  x[c]! += x[d]!;
  x[b] = rotate(x[b]! ^ x[c]!, 7);
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
