/**
 * The core module's bytes as the build left them. To make them takes as long as booting a small guest: building and
 * emitting some three thousand routines. They depend on nothing but the sources.
 */
import { largeModuleBytes } from "../memory/large-bytes.ts";
import { BUILD, image, LIMITS_AT } from "./prebuilt-image.ts";

/** Flags of an imported memory's limits: a maximum, and shared or not. */
export const LIMITS_SHARED = 3;
export const LIMITS_OWN = 1;

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** GIVEN: base64 in pieces of whole groups of four digits, padded in the last one. */
function fromBase64(pieces: readonly string[]): Uint8Array<ArrayBuffer> {
  const values = new Uint8Array(128);
  for (let i = 0; i < 64; i++) values[DIGITS.charCodeAt(i)] = i;
  const last = pieces.at(-1) ?? "";
  const padding = last.endsWith("==") ? 2 : last.endsWith("=") ? 1 : 0;
  const digits = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const bytes = largeModuleBytes((digits / 4) * 3);
  let to = 0;
  for (const piece of pieces) {
    const digit = (at: number): number => values[piece.charCodeAt(at)] ?? 0;
    for (let from = 0; from < piece.length; from += 4, to += 3) {
      const group = (digit(from) << 18) | (digit(from + 1) << 12) | (digit(from + 2) << 6) | digit(from + 3);
      bytes[to] = group >> 16;
      bytes[to + 1] = group >> 8;
      bytes[to + 2] = group;
    }
  }
  return bytes.subarray(0, bytes.length - padding);
}

/** Undefined where nothing was built. */
export function prebuiltModule(sharedMemory: boolean): Uint8Array<ArrayBuffer> | undefined {
  if (BUILD === "") return undefined;
  const bytes = fromBase64(image());
  bytes[LIMITS_AT] = sharedMemory ? LIMITS_SHARED : LIMITS_OWN;
  return bytes;
}

/** The core module for shared memory, and a name that no other has. Undefined where nothing was built. */
export function coreImage(): { readonly name: string; readonly bytes: () => Uint8Array<ArrayBuffer> } | undefined {
  if (BUILD === "") return undefined;
  return { name: BUILD.slice(0, 32), bytes: () => prebuiltModule(true) as Uint8Array<ArrayBuffer> };
}
