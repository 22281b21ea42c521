/** Regions as functions, and a batch of them as one WebAssembly module, which exports each: "0", "1", ... */
import * as L from "../cpu/layout.ts";
import { compileFunction, linkFunctions } from "../ir/compile.ts";
import type { CompiledFunction } from "../ir/function-emitter.ts";
import type { Region } from "./region.ts";
import { translateRegion } from "./translate.ts";

export function regionFunction(region: Region, ownShift = 0): CompiledFunction {
  return compileFunction(translateRegion(region, "region"), L.CPU_BASE + ownShift, ownShift);
}

export const regionModule: (functions: readonly CompiledFunction[], sharedMemory: boolean) => Uint8Array<ArrayBuffer> =
  linkFunctions;
