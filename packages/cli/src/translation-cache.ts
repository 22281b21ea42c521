/** `--translation-cache DIR|off`, for every command that runs a guest. */
import { option } from "./options.ts";
import type { VmOptions } from "./vm-library.ts";

type Choice = NonNullable<VmOptions["translationCache"]>;

/** What the option's absence means: a directory, or off. */
const VARIABLE = "TWINMETAL_TRANSLATION_CACHE";

const parse = (text: string): Choice => (text === "off" ? "off" : { directory: text });

export const TRANSLATION_CACHE = option(
  "translation-cache",
  "DIR|off",
  `Where translated code is kept, which later runs start faster with (default: $${VARIABLE}, else the user's cache directory). Guests that are to know nothing of each other need different ones. off: none is read or kept.`,
  parse,
);

export function translationCache(given: Choice | undefined, env: NodeJS.ProcessEnv): Choice {
  const named = env[VARIABLE];
  return given ?? (named ? parse(named) : {});
}
