/** On the host's own KVM, where there is one, and in the nested guest of `npm run test:kvm`: small guests in 16 MiB. */
import type { VcpuExit } from "@twinmetal/core";
import { afterEach, describe, expect, it } from "vitest";
import { KvmEngine, type KvmEngineOptions } from "./kvm-engine.ts";
import type { KvmVcpu } from "./kvm-vcpu.ts";
import { probeKvm } from "./probe.ts";
import { LONG_MODE_TABLES, longMode, longModeTables, type NotingBus, notingBus, realMode } from "./small-guest.ts";

const { facts, isUsable, findings } = probeKvm({ hasSelfTest: false });
const why = isUsable ? "" : ` (skipped: ${findings[0]?.reason})`;
const BUDGET_NS = 20_000_000;

interface Guest {
  readonly engine: KvmEngine;
  readonly vcpu: KvmVcpu;
  readonly bus: NotingBus;
}

const open: KvmEngine[] = [];
afterEach(() => {
  for (const engine of open.splice(0)) engine.close();
});

function guest(code: string, options: Partial<KvmEngineOptions> = {}): Guest {
  const tscFrequencyHz = Math.round(facts!.tscKhz / 1000) * 1e6;
  const engine = new KvmEngine({ memoryBytes: 16 * 2 ** 20, tscFrequencyHz, isCpuChecked: false, ...options });
  open.push(engine);
  const bus = notingBus();
  engine.memory.write(
    0x1000,
    Uint8Array.from(code.match(/[0-9a-f]{2}/g)!, (byte) => Number.parseInt(byte, 16)),
  );
  engine.memory.write(LONG_MODE_TABLES, longModeTables());
  return { engine, bus, vcpu: engine.createVcpu(0, bus) as KvmVcpu };
}

/** To the next exit that is none of time. */
function run({ vcpu }: Guest): VcpuExit {
  for (let i = 0; i < 100; i++) {
    const exit = vcpu.run(BUDGET_NS);
    if (exit.reason !== "budget") return exit;
  }
  return { reason: "budget" };
}

describe.skipIf(!isUsable)(`small guests${why}`, () => {
  it("reach a device's memory without an exit, and the device where they store to what is read-only", () => {
    // mov 0x2000000,%al ; out %al,$0x10 ; mov %al,0x2000000 ; mov 0x2000000,%al ; out %al,$0x11 ; hlt
    const code = "8a042500000002 e610 88042500000002 8a042500000002 e611 f4";
    const seen: Record<string, unknown> = {};
    for (const kind of ["read-only", "read-write"] as const) {
      const g = guest(`${code}`);
      const memory = g.engine.deviceMemory(0x2000, kind);
      memory.bytes[0] = 0x41;
      memory.place(0x200_0000);
      g.bus.writeMmio = (gpa, size, value) => {
        g.bus.notes.push(`write${size} ${gpa.toString(16)} ${value.toString(16)}`);
        memory.place(undefined);
      };
      g.vcpu.setState(longMode(0x1000));
      expect(run(g)).toEqual({ reason: "halt" });
      const written: number[] = [];
      memory.takeWritten((at) => written.push(at));
      seen[kind] = [g.bus.notes, written];
    }
    expect(seen).toEqual({
      "read-only": [["out1 10 41", "write1 2000000 41", "read1 2000000", "out1 11 78"], []],
      "read-write": [["out1 10 41", "out1 11 41"], [0]],
    });
  });

  it("find a device's memory nowhere that is RAM's already, or the local APIC's", () => {
    const g = guest("8a042500000002 e610 f4");
    const memory = g.engine.deviceMemory(0x2000, "read-write");
    for (const gpa of [0, 0x1000, 0xfedf_f000, 0xfee0_0000, 0x123, 2 ** 51]) memory.place(gpa);
    g.vcpu.setState(longMode(0x1000));
    expect(run(g)).toEqual({ reason: "halt" });
    expect(g.bus.notes).toEqual(["read1 2000000", "out1 10 78"]);
    memory.place(0x200_0000);
    memory.place(undefined);
    memory.takeWritten(() => expect.unreachable());
  });

  it("in real mode reach their ports, and HLT", () => {
    // mov $0x41,%al ; out %al,$0x10 ; in $0x20,%al ; out %al,$0x11 ; hlt
    const g = guest("b041 e610 e420 e611 f4");
    g.vcpu.setState(realMode(0x1000));
    expect(run(g)).toEqual({ reason: "halt" });
    expect(g.bus.notes).toEqual(["out1 10 41", "in1 20", "out1 11 78"]);
    expect(g.vcpu.getState()).toMatchObject({ rip: 0x1009n, halted: true });
  });

  it("take an interrupt out of HLT and return from it", () => {
    // sti ; hlt ; mov $0x42,%al ; out %al,$0x51 ; cli ; hlt      at 0x1020: out %al,$0x50 ; iret
    const g = guest("fb f4 b042 e651 fa f4");
    g.engine.memory.write(0x1020, Uint8Array.of(0xe6, 0x50, 0xcf));
    g.engine.memory.write(0x20 * 4, Uint8Array.of(0x20, 0x10, 0, 0));
    g.vcpu.setState(realMode(0x1000));
    g.vcpu.setState({ ...g.vcpu.getState(), idtr: { base: 0n, limit: 0x3ff } });
    expect(run(g)).toEqual({ reason: "halt" });
    g.vcpu.requestInterrupt(true);
    expect(run(g)).toEqual({ reason: "interrupt-window" });
    g.vcpu.interrupt(0x20);
    g.vcpu.requestInterrupt(false);
    expect(run(g)).toEqual({ reason: "halt" });
    expect(g.bus.notes).toEqual(["out1 50 0", "out1 51 42"]);
  });

  it("with interrupts off take one as soon as they switch them on", () => {
    // out %al,$0x52 ; sti ; nop ; jmp .
    const g = guest("e652 fb 90 ebfe");
    g.vcpu.setState(realMode(0x1000));
    g.vcpu.requestInterrupt(true);
    expect(run(g)).toEqual({ reason: "interrupt-window" });
    expect(g.bus.notes).toEqual(["out1 52 0"]);
  });

  it("in long mode reach MMIO and MSRs, and see the model's CPUID", () => {
    // mov $0xfee00020,%eax ; mov (%rax),%ecx ; mov %ecx,4(%rax) ; mov $0x1b,%ecx ; rdmsr ; out %eax,$0x30
    // mov $0x40000000,%eax ; cpuid ; hlt
    const g = guest("b82000e0fe 8b08 894804 b91b000000 0f32 e730 b800000040 0fa2 f4");
    g.vcpu.setState(longMode(0x1000));
    expect(run(g)).toEqual({ reason: "halt" });
    expect(g.bus.notes).toEqual(["read4 fee00020", "write4 fee00024 12345678", "out4 30 fee00900"]);
    const { gpr } = g.vcpu.getState();
    const name = new Uint8Array(new Uint32Array([gpr[3]!, gpr[1]!, gpr[2]!].map(Number)).buffer);
    expect(new TextDecoder().decode(name)).toBe("TwinmetalVM\0");
  });

  it("have the XCR0 that they set", () => {
    // mov %cr4,%rax ; or $0x40000,%eax ; mov %rax,%cr4 ; xor %ecx,%ecx ; xor %edx,%edx ; mov $3,%eax ; xsetbv ; hlt
    const g = guest("0f20e0 0d00000400 0f22e0 31c9 31d2 b803000000 0f01d1 f4");
    g.vcpu.setState(longMode(0x1000));
    expect(run(g)).toEqual({ reason: "halt" });
    expect(g.vcpu.getState().xcr0).toBe(3n);
  });

  it("cannot write to their ROM", () => {
    // mov $0xfffff000,%eax ; mov (%rax),%ecx ; mov %ecx,(%rax) ; hlt
    const rom = new Uint8Array(4096).fill(0xc3);
    const g = guest("b800f0ffff 8b08 8908 f4", { rom });
    g.vcpu.setState(longMode(0x1000));
    expect(run(g)).toEqual({ reason: "halt" });
    expect(g.bus.notes).toEqual(["write4 fffff000 c3c3c3c3"]);
  });

  it("stop in front of a breakpoint in the debug registers, and go on", () => {
    // inc %eax ; inc %ecx ; dec %ebx ; jnz 0x1000 ; hlt
    const g = guest("ffc0 ffc1 ffcb 75f8 f4");
    const start = longMode(0x1000);
    g.vcpu.setState({ ...start, gpr: start.gpr.map((value, i) => (i === 3 ? 2n : i === 4 ? value : 0n)) });
    g.vcpu.debug({ hardware: [{ on: "instruction", address: 0x1002n }] });
    for (const round of [1n, 2n]) {
      expect(run(g)).toEqual({ reason: "debug", stop: { kind: "breakpoint", address: 0x1002n } });
      expect(g.vcpu.getState().gpr.slice(0, 2)).toEqual([round, round - 1n]);
    }
    expect(run(g)).toEqual({ reason: "halt" });
    expect(g.vcpu.getState().gpr.slice(0, 2)).toEqual([2n, 2n]);
  });

  it("shut down by a triple fault", () => {
    // ud2, without an IDT
    const g = guest("0f0b");
    g.vcpu.setState({ ...longMode(0x1000), idtr: { base: 0n, limit: 0 } });
    expect(run(g)).toEqual({ reason: "shutdown" });
    expect(run(g)).toEqual({ reason: "shutdown" });
  });

  it("come out of an endless loop when their time is up", () => {
    const g = guest("ebfe");
    g.vcpu.setState(realMode(0x1000));
    const start = g.vcpu.retired;
    expect(g.vcpu.run(2_000_000)).toEqual({ reason: "budget" });
    expect(g.vcpu.retired - start).toBeGreaterThanOrEqual(1_900_000);
  });

  it("and devices are seen in the dirty log, once", () => {
    // mov %eax,0x6000 ; hlt
    const g = guest("890425 00600000 f4");
    const { memory, dirtyTracking } = g.engine;
    g.vcpu.setState(longMode(0x1000));
    dirtyTracking.start();
    expect(run(g)).toEqual({ reason: "halt" });
    memory.write(0x40_0fff, Uint8Array.of(1, 2));
    const pages = new Uint8Array(memory.sizeBytes / 4096);
    const count = dirtyTracking.take(pages);
    const written = [...pages].flatMap((isDirty, page) => (isDirty ? [page] : []));
    expect(count).toBe(written.length);
    expect(written).toEqual(expect.arrayContaining([6, 0x400, 0x401]));
    // Beside them at most what the guest has read: code, and page tables.
    expect(written.filter((page) => page < 0x400 && page !== 6 && page !== 1 && (page < 8 || page > 13))).toEqual([]);
    expect(dirtyTracking.take(pages)).toBe(0);
    dirtyTracking.stop();
  });
});

describe.skipIf(!isUsable)(`state${why}`, () => {
  it("goes in and comes out the same", () => {
    const g = guest("f4");
    const fxsave = longMode(0).fxsave.slice();
    for (let i = 0; i < 256; i++) fxsave[160 + i] = (i * 7) & 0xff;
    for (let i = 0; i < 10; i++) fxsave[32 + i] = 0x3f - i;
    const state = {
      ...longMode(0x1000),
      gpr: Array.from({ length: 16 }, (_, i) => 0x1111_1111_1111_1111n * BigInt(i)),
      rflags: 0x246n,
      fxsave,
      cr2: 0x1234n,
      xcr0: 3n,
      dr: [1n, 2n, 3n, 4n, 0xffff0ff0n, 0x400n],
      nmiMasked: true,
      interruptShadow: "sti" as const,
      retired: 123_456_789,
    };
    state.msrs = {
      ...state.msrs,
      [String(0xc000_0082)]: 0xffff_8000_1234_5678n,
      [String(0xc000_0102)]: 0xffff_8000_0000_1000n,
      [String(0x48)]: 1n,
      [String(0x200)]: 6n,
    };
    g.vcpu.setState(state);
    const back = g.vcpu.getState();
    const expected = { ...state, msrs: { ...back.msrs, ...state.msrs } };
    for (const [name, value] of Object.entries(expected))
      expect([name, back[name as keyof typeof back]]).toEqual([name, value]);
    g.vcpu.setState(back);
    expect(g.vcpu.getState()).toEqual(back);
  });

  it.skipIf(facts?.module === "kvm_pvm")("has the time-stamp counter where the machine's clock wants it", () => {
    // rdtsc ; hlt
    const g = guest("0f31 f4");
    const hz = Math.round(facts!.tscKhz / 1000) * 1e6;
    g.bus.readTsc = (retired) => 10n ** 15n + BigInt(Math.round((retired * hz) / 1e9));
    // The thread may have to wait between the guest's look at the counter and its own at the clock: not each time.
    const apartNs = Array.from({ length: 5 }, () => {
      g.vcpu.setState({ ...longMode(0x1000), retired: 5_000_000_000 });
      expect(run(g)).toEqual({ reason: "halt" });
      const { gpr, retired } = g.vcpu.getState();
      const tsc = (gpr[2]! << 32n) | gpr[0]!;
      return Math.abs(Number(g.bus.readTsc(retired) - tsc) / (hz / 1e9));
    });
    expect(Math.min(...apartNs)).toBeLessThan(20_000_000);
  });
});
