import { expect, it } from "vitest";
import * as L from "../cpu/layout.ts";
import { bareMachine } from "../interp/bare-machine.ts";
import { type Core, createCore } from "../interp/core.ts";
import { PAGE_BYTES } from "./region.ts";
import { type TranslatedBatch, type TranslationBatch, translateApart, translateBatch } from "./translator.ts";

it("an answer that comes after all blocks were dropped touches nothing, whatever lies at its block's address", () => {
  const batches: TranslationBatch[] = [];
  const answers: TranslatedBatch[] = [];
  let core: Core | undefined;
  const m = bareMachine(
    {},
    {
      tier: "auto",
      translator: { request: (batch) => void batches.push(batch), take: () => answers.shift() },
      createCore: (...args) => {
        core = createCore(...args);
        return core;
      },
    },
  );
  // A hundred blocks (jmp to the next) come first; then dec rcx; jnz; hlt.
  m.load([...Array.from({ length: 100 }, () => [0xeb, 0]).flat(), 0x48, 0xff, 0xc9, 0x75, 0xfb, 0xf4]);
  m.change((s) => {
    s.gpr[1] = 10_000_000n;
  });
  for (let i = 0; i < 100 && batches.length === 0; i++) m.vcpu.run(10_000);
  const [batch] = batches;
  if (!batch || !core) throw new Error("nothing was asked for");
  core.decoder.flush();
  // As if each place of the arena were what the request's block was.
  const host = (batch.pages[0] ?? 0) + (batch.windows[0]?.entry ?? 0) - PAGE_BYTES;
  const [from, to] = [L.ARENA + 4096, L.ARENA + 16384];
  for (let at = from; at < to; at += 4) core.view.setUint32(at, host, true);
  answers.push(translateBatch(batch));
  m.vcpu.run(1);
  for (let at = from; at < to; at += 4) expect(core.view.getUint32(at, true)).toBe(host);
  expect(m.engine.stats()["regionsTranslated"]).toBe(1);
  for (let i = 0; i < 10; i++) m.vcpu.run(10_000);
  expect(m.engine.stats()["instructionsInRegions"]).toBeGreaterThan(0);
});

it("others are asked for while a region of much code is waited for, which comes with an answer of its own", () => {
  const asked: TranslationBatch[] = [];
  const answers: TranslatedBatch[] = [];
  const translator = { request: (batch: TranslationBatch) => void asked.push(batch), take: () => answers.shift() };
  const m = bareMachine({}, { tier: "auto", translator });
  // dec rcx, 300 times inc rax, jnz back; mov ecx, 1000000; dec rcx; jnz; jmp to the start.
  const large = [0x48, 0xff, 0xc9, ...Array.from({ length: 300 }, () => [0x48, 0x8d, 0x40, 1]).flat(), 0x0f, 0x85];
  const small = [0xb9, 0x40, 0x42, 0x0f, 0, 0x48, 0xff, 0xc9, 0x75, 0xfb];
  m.load([...large, ...back(large.length + 4, 4), ...small, 0xe9, ...back(large.length + 4 + small.length + 5, 4)]);
  m.change((s) => {
    s.gpr[1] = 20_000n;
  });
  const runUntil = (isEnough: () => boolean) => {
    for (let i = 0; i < 2000 && !isEnough(); i++) m.vcpu.run(10_000);
    expect(isEnough()).toBe(true);
  };
  runUntil(() => asked.length === 1);
  const [first, ...later] = translateApart(asked[0]!, () => {}, 1000);
  expect(first.module).toBeUndefined();
  expect(later).toHaveLength(1);
  answers.push(first);
  runUntil(() => asked.length === 2);
  expect(m.engine.stats()["instructionsInRegions"]).toBe(0);
  answers.push(...translateApart(asked[1]!, () => {}, 1000));
  runUntil(() => Number(m.engine.stats()["instructionsInRegions"]) > 0);
  answers.push(...later);
  m.vcpu.run(1);
  expect(m.engine.stats()["regionsTranslated"]).toBe(2);
  expect(m.engine.stats()["regionsQueued"]).toBe(0);
});

/** A displacement of so many bytes that leads that far back. */
const back = (distance: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => (-distance >> (8 * i)) & 0xff);
