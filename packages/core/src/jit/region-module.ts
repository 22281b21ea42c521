/** A batch of regions as one WebAssembly module, which exports a function for each: "0", "1", ... */
import * as L from "../cpu/layout.ts";
import { ModuleWriter } from "../ir/compile.ts";
import type { Region } from "./region.ts";
import { translateRegion } from "./translate.ts";

export function regionModule(regions: readonly Region[], sharedMemory: boolean): Uint8Array<ArrayBuffer> {
  const writer = new ModuleWriter({ cpuBase: L.CPU_BASE, sharedMemory });
  for (const [i, region] of regions.entries()) writer.addExport(String(i), translateRegion(region, `region_${i}`));
  return writer.finish();
}
