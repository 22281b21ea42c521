/** Where koffi is there. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { isNoCalls, linuxCalls } from "./koffi-calls.ts";

const calls = linuxCalls();

describe.skipIf(isNoCalls(calls))("memory whose address the kernel is told", () => {
  // V8 keeps the bytes of small arrays in its heap, where they move, until somebody asks for their buffer or address.
  it.each([4, 8, 32, 64, 65, 4096])("of %i bytes stays where it is", (bytes) => {
    if (isNoCalls(calls)) return;
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as (options?: { type: "minor" }) => void;
    const memory = new Uint8Array(bytes).fill(0x5a);
    const address = calls.addressOf(memory);
    for (let i = 0; i < 3; i++) {
      collect({ type: "minor" });
      collect();
    }
    expect(calls.addressOf(memory)).toBe(address);
    expect(calls.viewAt(address, bytes).getUint8(bytes - 1)).toBe(0x5a);
  });

  it("of WebAssembly is zeros again when it was discarded, and usable", () => {
    if (isNoCalls(calls)) return;
    const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
    const bytes = new Uint8Array(memory.buffer).fill(0x5a);
    calls.discard(bytes.subarray(0, 65_536));
    expect([bytes[0], bytes[65_535], bytes[65_536]]).toEqual([0, 0, 0x5a]);
    bytes[0] = 1;
    expect(bytes[0]).toBe(1);
  });
});
