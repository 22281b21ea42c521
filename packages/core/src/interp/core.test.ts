import { describe, expect, it } from "vitest";
import { coreModuleBytes, handlerSet } from "./core.ts";

describe("core module", () => {
  it("compiles", () => {
    const t0 = performance.now();
    handlerSet();
    const t1 = performance.now();
    const bytes = coreModuleBytes(true);
    const t2 = performance.now();
    console.log("handlers", t1 - t0, "module", t2 - t1, bytes.length, handlerSet().hot.length, handlerSet().table.length);
    expect(new WebAssembly.Module(bytes)).toBeTruthy();
  });
});
