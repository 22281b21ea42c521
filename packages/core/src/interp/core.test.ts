import { describe, expect, it } from "vitest";
import { coreModuleBytes, handlerSet } from "./core.ts";

/** Sizes of the function bodies of a module (core specification, 5.5.13). */
function bodySizes(bytes: Uint8Array): number[] {
  let at = 8;
  const u32 = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++] ?? 0;
      value |= (byte & 0x7f) << shift;
      if (!(byte & 0x80)) return value >>> 0;
    }
  };
  while (at < bytes.length) {
    const id = bytes[at++];
    const size = u32();
    if (id !== 10) {
      at += size;
      continue;
    }
    return Array.from({ length: u32() }, () => {
      const body = u32();
      at += body;
      return body;
    });
  }
  return [];
}

describe("core module", () => {
  const bytes = coreModuleBytes(true);

  it("is valid WebAssembly, shared and not", () => {
    expect(WebAssembly.validate(bytes)).toBe(true);
    expect(WebAssembly.validate(coreModuleBytes(false))).toBe(true);
  });

  // One function of hundreds of KB takes seconds until it is optimised (docs/specification.md).
  it("keeps the dispatcher small", () => {
    expect(handlerSet().hot.length).toBeGreaterThan(50);
    expect(Math.max(...bodySizes(bytes))).toBeLessThan(60_000);
  });
});
