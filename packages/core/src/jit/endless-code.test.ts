/**
 * A guest that writes new code for ever: the modules of its translations are bounded in number, those that were dropped
 * are collected, and the guest computes what it does without any of it.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { bareMachine } from "../interp/bare-machine.ts";
import { LocalTranslator, type Translator } from "./translator.ts";

const ROUNDS = 150;
const BOUNDS = { modules: 20, bytes: 1 << 20 };

const le32 = (value: number): number[] => [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255];

/** Writes `add rax, EBX; ret` to one of 16384 places, calls it 12000 times, counts EBX up; ROUNDS times. */
const GUEST = [
  ...[0x31, 0xdb, 0x31, 0xc0], // xor ebx, ebx; xor eax, eax
  ...[0x89, 0xdf, 0x81, 0xe7, ...le32(0x3fff)], // 4: mov edi, ebx; and edi, 0x3fff
  ...[0xc1, 0xe7, 0x06, 0x81, 0xc7, ...le32(0x400000)], // shl edi, 6; add edi, 0x400000
  ...[0xc7, 0x07, 0x90, 0x90, 0x48, 0x05], // mov dword [rdi], nop; nop; add rax,
  ...[0x89, 0x5f, 0x04, 0xc6, 0x47, 0x08, 0xc3], // mov [rdi + 4], ebx; mov byte [rdi + 8], ret
  ...[0xb9, ...le32(12_000)], // mov ecx, 12000
  ...[0xff, 0xd7, 0xff, 0xc9, 0x75, 0xfa], // call rdi; dec ecx; jnz to the call
  ...[0xff, 0xc3, 0x81, 0xfb, ...le32(ROUNDS)], // inc ebx; cmp ebx, ROUNDS
];
const CODE = [...GUEST, 0x72, 0x100 - (GUEST.length + 2 - 4), 0xf4]; // jb to 4; hlt

function run(bounds: typeof BOUNDS, translator: Translator): Readonly<Record<string, number>> {
  const m = bareMachine({}, { tier: "auto", translator, translationBounds: bounds });
  m.load(CODE);
  const plain = bareMachine({}, { tier: "interp" });
  plain.load(CODE);
  while (plain.vcpu.run(1 << 20).reason === "budget");
  while (m.vcpu.run(2000).reason === "budget");
  expect(m.state()).toEqual(plain.state());
  expect(m.state().gpr[0]).toBe(BigInt((12_000 * ROUNDS * (ROUNDS - 1)) / 2));
  expect(m.vcpu.retired).toBe(plain.vcpu.retired);
  return m.engine.stats();
}

it("modules of endless fresh code that are not used any more are dropped and collected, and the guest computes what it does", async () => {
  const modules: WeakRef<WebAssembly.Module>[] = [];
  const local = new LocalTranslator();
  const translator: Translator = {
    request: (batch) => local.request(batch),
    take: () => {
      const answer = local.take();
      if (answer?.module) modules.push(new WeakRef(answer.module));
      return answer;
    },
  };
  const { regionModules = 0, regionModulesDropped = 0, regionResets } = run(BOUNDS, translator);
  expect(regionModules).toBeGreaterThan(ROUNDS / 2);
  expect(regionModulesDropped).toBeGreaterThan(regionModules - BOUNDS.modules / 2);
  expect(regionResets).toBe(0);

  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  // A module goes with the second collection, its functions with the first.
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    collect();
  }
  expect(modules.length).toBe(regionModules);
  expect(modules.filter((module) => module.deref()).length).toBeLessThanOrEqual(BOUNDS.modules / 2 + 3);
});

it("at the bound all translations go and come again", () => {
  const { regionModules = 0, regionResets = 0 } = run({ modules: 20, bytes: 1 }, new LocalTranslator());
  expect(regionModules).toBeGreaterThan(ROUNDS / 2);
  expect(regionResets).toBe(regionModules);
});
