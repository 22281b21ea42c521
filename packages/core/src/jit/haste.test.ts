import { expect, it } from "vitest";
import { bareMachine } from "../interp/bare-machine.ts";
import { type TranslatedBatch, type TranslationBatch, translateBatch } from "./translator.ts";

/** A loop of so many rounds, run to its end or until it does not end: the batches that were asked for, and what counters say. */
function runLoop(rounds: number, isBeside: boolean, isAnswered = true) {
  const batches: TranslationBatch[] = [];
  const answers: TranslatedBatch[] = [];
  const request = (batch: TranslationBatch): void => {
    batches.push(batch);
    if (isAnswered) answers.push(translateBatch(batch));
  };
  const m = bareMachine({}, { tier: "auto", translator: { isBeside, request, take: () => answers.shift() } });
  // dec rcx; jnz; then again, in another block of another page; hlt.
  const loop = [0x48, 0xff, 0xc9, 0x75, 0xfb];
  m.load([...loop, 0xb9, ...[0, 1, 2, 3].map((i) => (rounds >>> (8 * i)) & 255), ...loop, 0xf4]);
  m.change((s) => {
    s.gpr[1] = BigInt(rounds);
  });
  for (let exit = ""; exit !== "halt"; ) exit = m.vcpu.run(100).reason;
  return { batches, inRegions: Number(m.engine.stats()["instructionsInRegions"]) };
}

it("an idle translator is asked for code that is not hot yet; one that takes the machine's time is not", () => {
  expect(runLoop(2000, false).batches).toHaveLength(0);
  const { batches, inRegions } = runLoop(2000, true);
  expect(batches.length).toBeGreaterThan(0);
  expect(inRegions).toBeGreaterThan(2000);
});

it("code that hardly runs is not asked for, however long nobody asks", () => {
  expect(runLoop(300, true).batches).toHaveLength(0);
});

it("while a translation is under way nothing is asked for sooner", () => {
  expect(runLoop(2000, true, false).batches).toHaveLength(1);
});
