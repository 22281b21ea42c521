/** Where one VM's translations are kept, and what they are for. */
import { resolve } from "node:path";
import type { MachineSpec, TranslationCacheOptions } from "@twinmetal/core";
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
  return { directory, kernel: spec.boot?.kernel.sha256 ?? "", cpuFeatures: spec.cpuFeatures, sharedMemory: true };
}
