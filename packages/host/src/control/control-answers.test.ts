import { expect, it } from "vitest";
import { registersAnswer } from "./control-answers.ts";

it("names registers as the manual does, with all their digits", () => {
  const gpr = Array.from({ length: 16 }, (_, i) => BigInt(i));
  const control = { cr0: 0x8005_0033n, cr2: 0n, cr3: 0x1000n, cr4: 0x20n };
  const rest = { cpl: 3, cs: 0x33, ss: 0x2b, isHalted: false, retired: 2 ** 40 };
  const answer = registersAnswer({ gpr, rip: 0xffff_ffff_8100_0000n, rflags: 2n, ...control, ...rest });
  expect(answer).toMatchObject(rest);
  expect(answer.registers).toMatchObject({
    rax: "0x0000000000000000",
    rbx: "0x0000000000000003",
    r15: "0x000000000000000f",
    rip: "0xffffffff81000000",
    cr0: "0x0000000080050033",
  });
  expect(Object.keys(answer.registers)).toHaveLength(22);
  expect(JSON.parse(JSON.stringify(answer))).toEqual(answer);
});
