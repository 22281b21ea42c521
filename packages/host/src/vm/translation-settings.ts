/** Where one VM's translations are kept: from its options and the environment. */
import type { MachineSpec } from "@twinmetal/core";
import type { TranslationThreadStart } from "./port-translator.ts";
import { translationDirectory } from "./translation-store.ts";
import type { TranslationCacheChoice } from "./vm.ts";
import { VmError } from "./vm-error.ts";

const DEFAULT_DOMAIN = "own";

export function cacheSettings(spec: MachineSpec, choice: TranslationCacheChoice = "off"): TranslationThreadStart["cache"] {
  if (choice === "off") return undefined;
  const { domain = DEFAULT_DOMAIN } = choice;
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(domain) || domain === "key") {
    throw new VmError(
      "bad-option",
      `${JSON.stringify(domain)} is no domain of translations: give up to 63 small letters, digits and "-".`,
    );
  }
  const directory = translationDirectory();
  if (directory === undefined) return undefined;
  const kernel = spec.boot?.kernel.sha256 ?? "";
  return { directory, domain, kernel, cpuFeatures: spec.cpuFeatures, sharedMemory: true };
}
