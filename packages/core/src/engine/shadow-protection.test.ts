import { describe, expect, it } from "vitest";
import { ContractGuest, DATA, type EngineFactory } from "./contract-guest.ts";
import { JitEngine } from "./jit-engine.ts";

const SHADOW = 0xc_8000;
const HLT = 0xf4;

describe.each(["interp", "jit"] as const)("protected shadow RAM on %s", (tier) => {
  const create: EngineFactory = (given) => ({ engine: new JitEngine({ tscFrequencyHz: 1e9, tier, ...given }) });

  /** mov [rdi], al */
  function store(guest: ContractGuest, at: number): number {
    guest.load([0x88, 0x07, HLT], { rdi: at, rax: 0x5a });
    guest.runToHalt();
    return guest.read(at, 1)[0]!;
  }

  it("begins and ends with each part of 16 KiB", () => {
    const guest = new ContractGuest(create);
    guest.engine.protectShadow(0x8001);
    const places = [0xb_ffff, 0xc_0000, 0xc_3fff, 0xc_4000, 0xf_bfff, 0xf_c000, 0xf_ffff, 0x10_0000 + 0x800];
    expect(places.map((at) => store(guest, at))).toEqual([0x5a, 0, 0, 0x5a, 0x5a, 0, 0, 0x5a]);
  });

  it("keeps page tables without accessed and dirty flags", () => {
    const guest = new ContractGuest(create);
    const view = new DataView(new ArrayBuffer(0x3000));
    view.setBigUint64(0, BigInt(SHADOW + 0x1000) | 3n, true);
    view.setBigUint64(0x1000, BigInt(SHADOW + 0x2000) | 3n, true);
    for (let i = 0; i < 512; i++) view.setBigUint64(0x2000 + 8 * i, (BigInt(i) << 21n) | 0x83n, true);
    const tables = [...new Uint8Array(view.buffer)];
    guest.write(SHADOW, tables);
    const storeBy = (): void => {
      guest.load([0x89, 0x07, HLT], { rdi: DATA, rax: 0x1234 }); // mov [rdi], eax
      guest.change((state) => {
        state.cr3 = BigInt(SHADOW);
      });
      guest.runToHalt();
      expect(guest.engine.memory.read32(DATA)).toBe(0x1234);
    };
    guest.engine.protectShadow(0b0100);
    storeBy();
    expect(guest.read(SHADOW, tables.length)).toEqual(tables);
    guest.engine.protectShadow(0);
    storeBy();
    expect([0, 0x1000, 0x2000].map((at) => guest.read(SHADOW + at, 1)[0])).toEqual([0x23, 0x23, 0xe3]);
  });

  it("stays so when a device stores there, to code", () => {
    const guest = new ContractGuest(create);
    guest.engine.protectShadow(0xffff);
    const code = [0xfe, 0x05, 0x10, 0, 0, 0, 0xb0, 1, HLT]; // inc byte [rip+10h]; mov al, 1
    guest.load(code, {}, SHADOW);
    guest.runToHalt();
    code[7] = 2;
    guest.load(code, {}, SHADOW);
    guest.runToHalt();
    expect([guest.gpr("rax") & 0xffn, guest.read(SHADOW + 22, 1)]).toEqual([2n, [0]]);
    expect(store(guest, SHADOW + 22)).toBe(0);
    guest.engine.protectShadow(0);
    expect(store(guest, SHADOW + 22)).toBe(0x5a);
  });
});

it("protected shadow RAM stays so when all that was decoded goes", () => {
  const guest = new ContractGuest((given) => ({ engine: new JitEngine({ tscFrequencyHz: 1e9, ...given }) }));
  guest.engine.protectShadow(0b0100);
  // More blocks than fit: a jump each.
  const pages = 32;
  const jumps = Uint8Array.from({ length: pages * 4096 }, (_, i) => (i % 2 === 0 ? 0xeb : 0));
  for (let round = 0; guest.engine.stats()["blockFlushes"] === 0; round++) {
    expect(round).toBeLessThan(10);
    guest.write(DATA, jumps);
    guest.write(DATA + jumps.length, [HLT]);
    guest.load([0xeb, 0], {}, DATA);
    guest.runToHalt();
  }
  guest.load([0x88, 0x07, HLT], { rdi: SHADOW, rax: 0x5a });
  guest.runToHalt();
  expect(guest.read(SHADOW, 1)).toEqual([0]);
});

it("protected shadow RAM is every vCPU's", () => {
  const guest = new ContractGuest((given) => ({ engine: new JitEngine({ tscFrequencyHz: 1e9, ...given, cpus: 2 }) }));
  const second = guest.engine.createVcpu(1, {
    ...{ readPort: () => 0, writePort: () => {}, readMmio: () => 0, writeMmio: () => {} },
    ...{ readMsr: () => undefined, writeMsr: () => false, readTsc: () => 0n, randomBits: () => 0n },
  });
  guest.load([0x88, 0x07, HLT], { rdi: SHADOW, rax: 0x5a });
  second.setState(guest.state());
  expect(second.run(1000).reason).toBe("halt");
  expect(guest.read(SHADOW, 1)).toEqual([0x5a]);
  guest.runToHalt();
  guest.engine.protectShadow(0b0100);
  for (const vcpu of [guest.vcpu, second]) {
    guest.load([0x88, 0x07, HLT], { rdi: SHADOW, rax: 0x77 });
    vcpu.setState(guest.state());
    expect(vcpu.run(1000).reason).toBe("halt");
    expect(guest.read(SHADOW, 1)).toEqual([0x5a]);
  }
});
