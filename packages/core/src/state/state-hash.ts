/**
 * The hash of a machine's state: SHA-256 over the canonical bytes of each section, in order, and over the address and
 * content of each page of RAM that is not zero, in ascending order.
 */
import type { RamRegion } from "../memory/ram.ts";
import { encodeState } from "./codec.ts";
import type { StateSection } from "./section.ts";
import { Sha256, type StreamHash } from "./sha256.ts";
import { zeroPageTest } from "./zero-page.ts";

const PAGE_BYTES = 4096;

/** `hash`: a fresh SHA-256. */
export function hashState(
  sections: readonly StateSection[],
  regions: readonly RamRegion[],
  hash: StreamHash = new Sha256(),
): Uint8Array {
  for (const { name, schema, version, state } of sections) hash.update(encodeState([name, schema, version, state]));
  const address = new Uint8Array(8);
  const addressView = new DataView(address.buffer);
  for (const { start, bytes } of regions) {
    const isZero = zeroPageTest(bytes);
    for (let page = 0; page < bytes.length / PAGE_BYTES; page++) {
      if (isZero(page)) continue;
      addressView.setBigUint64(0, BigInt(start + page * PAGE_BYTES));
      hash.update(address);
      hash.update(bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES));
    }
  }
  return hash.digest();
}
