/** A batch of regions as one WebAssembly module, which exports a function for each: "0", "1", ... */
import * as L from "../cpu/layout.ts";
import { compileModule } from "../ir/compile.ts";
import type { Routine } from "../ir/types.ts";
import type { Region } from "./region.ts";
import { translateRegion } from "./translate.ts";

export function regionModule(regions: readonly Region[], sharedMemory: boolean): Uint8Array<ArrayBuffer> {
  const external = new Set<Routine>();
  const exports: Record<string, Routine> = {};
  for (const [i, region] of regions.entries()) {
    const { routine, imports } = translateRegion(region, `region_${i}`);
    exports[i] = routine;
    for (const used of imports) external.add(used);
  }
  return compileModule({ cpuBase: L.CPU_BASE, sharedMemory, exports, table: [], external });
}
