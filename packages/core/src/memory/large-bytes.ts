/**
 * Buffers that are large and live for a moment. malloc learns from those that it gets back: glibc keeps, in each of its arenas,
 * one for each of V8's threads among them, up to twice as much free memory as the largest piece was. These have pages of their own,
 * which go back to the system at once; where there is no such thing they are like any others.
 */

/** Below, it is not worth a mapping. */
const FEW_BYTES = 1 << 17;
const WASM_PAGE_BYTES = 1 << 16;

type ResizableConstructor = new (byteLength: number, options: { readonly maxByteLength: number }) => ArrayBuffer;

/** Zeros, in a buffer that could be resized (ECMA-262, 25.1.4.1). */
export function largeBytes(length: number): Uint8Array<ArrayBuffer> {
  if (length < FEW_BYTES) return new Uint8Array(length);
  const buffer = new (ArrayBuffer as ResizableConstructor)(length, { maxByteLength: length });
  // With a length: without one the view's would be the buffer's at each access.
  return new Uint8Array(buffer, 0, length);
}

/** For what becomes a module, which is not to be in a buffer that could be resized. Cannot be transferred. */
export function largeModuleBytes(length: number): Uint8Array<ArrayBuffer> {
  if (length < FEW_BYTES) return new Uint8Array(length);
  const pages = Math.ceil(length / WASM_PAGE_BYTES);
  try {
    const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages });
    return new Uint8Array(buffer as ArrayBuffer, 0, length);
  } catch {
    // Each takes gigabytes of addresses, of which a process may have few.
    return new Uint8Array(length);
  }
}
