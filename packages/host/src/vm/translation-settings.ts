/** Where one VM's translations are kept, and what they are for. */
import { resolve } from "node:path";
import { decodedFeatures, type MachineSpec, type TranslationCacheOptions } from "@twinmetal/core";
import { translationDirectory } from "./translation-store.ts";
import type { TranslationCacheChoice } from "./vm.ts";

export interface TranslationSettings extends TranslationCacheOptions {
  readonly directory: string;
}

/** Undefined: nowhere. */
export function cacheSettings(
  spec: MachineSpec,
  choice: TranslationCacheChoice = "off",
): TranslationSettings | undefined {
  if (choice === "off") return undefined;
  const directory = resolve(choice.directory ?? translationDirectory());
  const cpuFeatures = decodedFeatures(spec.cpuFeatures, spec.cpus);
  return { directory, kernel: spec.boot?.kernel.sha256 ?? "", cpuFeatures, sharedMemory: true };
}
