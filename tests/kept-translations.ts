// Where all guests of one run of the tests keep their translations: a directory of that run, so that each kernel is
// translated once a run, and nothing depends on what earlier runs have left. The program takes it from its variable;
// tests that make VMs themselves pass `keptTranslations`. What is kept changes no state, only time
// (tests/guest/translation-cache.test.ts).

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const VARIABLE = "TWINMETAL_TRANSLATION_CACHE";

let made = "";

/** vitest calls it before all tests; the processes that it starts inherit the variable. */
export async function setup(): Promise<void> {
  made = await mkdtemp(join(tmpdir(), "twinmetal-translations-"));
  process.env[VARIABLE] = made;
}

/** And this behind them. A process that compiles what the last guest has left may still be at work in there. */
export async function teardown(): Promise<void> {
  await rm(made, { recursive: true, force: true, maxRetries: 20, retryDelay: 500 });
}

/** For `createVm` and `restoreVm`. Off where no set-up has been, as in the tests inside a guest. */
export function keptTranslations(): { readonly translationCache: "off" | { readonly directory: string } } {
  const directory = process.env[VARIABLE];
  return { translationCache: directory === undefined || directory === "off" ? "off" : { directory } };
}
