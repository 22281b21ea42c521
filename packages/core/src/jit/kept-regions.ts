/** Translations of earlier runs, as this machine's: each function gets its place in the table when a block first gets it. */
import type { RegionModules } from "./region-modules.ts";
import { readOrigins } from "./saved-regions.ts";
import type { Translation } from "./translations.ts";
import type { KeptTranslations } from "./translator.ts";

export interface KeptCounters {
  regionsKept: number;
  regionsKeptUsed: number;
  regionBytesKept: number;
}

export function* keptRegions(
  { module, moduleBytes, isCompiled, index: origins }: KeptTranslations,
  imports: WebAssembly.Imports,
  modules: RegionModules,
  counters: KeptCounters,
): Iterable<Translation> {
  const instance = new WebAssembly.Instance(module, imports);
  const home = modules.add(moduleBytes, true);
  counters.regionBytesKept += moduleBytes;
  for (const [i, origin] of readOrigins(origins).entries()) {
    counters.regionsKept++;
    let index = 0;
    const enter = (): number => {
      counters.regionsKeptUsed++;
      return modules.enter(home, instance.exports[String(i)] as () => number);
    };
    for (const entry of [origin.entry, ...origin.resumptions])
      yield {
        ...origin,
        entry,
        home,
        get index() {
          index ||= enter();
          return index;
        },
        get isReady() {
          return isCompiled || index > 0;
        },
      };
  }
}
