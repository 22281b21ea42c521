import type { TranslationBatch } from "@twinmetal/core";
import { expect, test } from "vitest";
import { PortTranslator, startTranslationThread } from "./port-translator.ts";

test("a translation thread that fails is told of", async () => {
  const thread = startTranslationThread();
  const warned = new Promise<Error & { code?: string }>((resolve) => process.once("warning", resolve));
  new PortTranslator(thread.port).request({} as TranslationBatch);
  const warning = await warned;
  expect(warning.code).toBe("TWINMETAL_NO_TRANSLATION");
  expect(warning.message).toMatch(/interpreted/);
  thread.port.close();
  await thread.end();
});
