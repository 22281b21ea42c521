import { expect, it } from "vitest";
import { JitEngine } from "../engine/jit-engine.ts";

const [CODE, IDT, GDT, STACK] = [0x1000, 0x2000, 0x3000, 0x8001];
const USER_CODE = 0x0b;
const USER_DATA = 0x13;
const ALIGNMENT_CHECK = 17;
const PE_AM = 0x40001n;
const AC = 0x40000n;

it("an exception whose delivery raises another without end hangs the guest, not the host", () => {
  const engine = new JitEngine({ memoryBytes: 1 << 20, tscFrequencyHz: 1e9 });
  const none = (): undefined => undefined;
  const vcpu = engine.createVcpu(0, {
    ...{ readPort: () => 0, writePort: none, readMmio: () => 0, writeMmio: none, readMsr: none, writeMsr: () => false },
    readTsc: () => 0n,
    randomBits: () => 0n,
  });
  const { memory } = engine;
  memory.write64(GDT + 8, 0x00cf_fb00_0000_ffffn);
  memory.write64(GDT + 16, 0x00cf_f300_0000_ffffn);
  // The handler stays in ring 3, where pushing its frame at an odd address is another #AC.
  memory.write64(IDT + ALIGNMENT_CHECK * 8, BigInt(CODE) | (BigInt(USER_CODE) << 16n) | (0xeen << 40n));
  memory.write8(CODE, 0x50); // push eax
  const data = { selector: USER_DATA, base: 0n, limit: 0xffff_ffff, attributes: 0xc0f3 };
  vcpu.setState({
    ...vcpu.getState(),
    ...{ cr0: PE_AM, rflags: AC | 2n, rip: BigInt(CODE), ss: data, ds: data, es: data },
    cs: { ...data, selector: USER_CODE, attributes: 0xc0fb },
    gdtr: { base: BigInt(GDT), limit: 0x17 },
    idtr: { base: BigInt(IDT), limit: 0xff },
    gpr: Array.from({ length: 16 }, (_, i) => BigInt(i === 4 ? STACK : 0)),
  });
  expect(vcpu.run(1000).reason).toBe("budget");
  expect(vcpu.getState().rip).toBe(BigInt(CODE));
  expect(vcpu.retired).toBeGreaterThan(900);
});
