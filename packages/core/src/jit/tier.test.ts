import { expect, it } from "vitest";
import * as L from "../cpu/layout.ts";
import { bareMachine } from "../interp/bare-machine.ts";
import { type Core, createCore } from "../interp/core.ts";
import { PAGE_BYTES } from "./region.ts";
import { type TranslatedBatch, type TranslationBatch, translateBatch } from "./translator.ts";

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
