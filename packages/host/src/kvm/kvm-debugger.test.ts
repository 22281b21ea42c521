import { describe, expect, it } from "vitest";
import { DEBUGREGS, EXIT, GUEST_DEBUG, IO_DIRECTION_OUT, KVM, REGS_RIP, RUN, TRANSLATION } from "./abi.ts";
import { exitWith, FakeCalls } from "./fake-calls.ts";
import { KvmEngine } from "./kvm-engine.ts";
import type { KvmVcpu } from "./kvm-vcpu.ts";
import { ERRNO } from "./linux-calls.ts";
import { notingBus, realMode } from "./small-guest.ts";

const CODE = 0x1000;
const [DB, BP] = [1, 3];
const BS = 0x4000n;
const ENABLE_HARDWARE = GUEST_DEBUG.ENABLE | GUEST_DEBUG.USE_SW_BP | GUEST_DEBUG.USE_HW_BP;
const STEP_WITH_HARDWARE = GUEST_DEBUG.ENABLE | GUEST_DEBUG.SINGLESTEP | GUEST_DEBUG.USE_HW_BP;
const STEP = GUEST_DEBUG.ENABLE | GUEST_DEBUG.SINGLESTEP;

/** A vCPU whose RIP is `rig.rip`, with what KVM_SET_GUEST_DEBUG and KVM_SET_DEBUGREGS were told. */
function rig(...runs: ((run: DataView) => number)[]) {
  const calls = new FakeCalls();
  const engine = new KvmEngine({ memoryBytes: 16 * 2 ** 20, tscFrequencyHz: 2e9, calls });
  const vcpu = engine.createVcpu(0, notingBus()) as KvmVcpu;
  vcpu.setState(realMode(CODE));
  calls.runs.push(...runs);
  const made = {
    calls,
    engine,
    vcpu,
    rip: CODE,
    controls: [] as number[],
    dr: [] as bigint[],
    guestDr6: 0n,
  };
  const viewOf = (bytes: unknown): DataView => new DataView((bytes as Uint8Array).buffer);
  calls.answers.set(KVM.GET_REGS, (regs) => {
    viewOf(regs).setBigUint64(REGS_RIP, BigInt(made.rip), true);
    return 0;
  });
  calls.answers.set(KVM.TRANSLATE, (request) => {
    const view = viewOf(request);
    const linear = view.getBigUint64(TRANSLATION.linear_address, true);
    view.setBigUint64(TRANSLATION.physical_address, linear, true);
    view.setUint8(TRANSLATION.valid, linear < 0x10_0000n ? 1 : 0);
    return 0;
  });
  calls.answers.set(KVM.SET_GUEST_DEBUG, (request) => {
    const view = viewOf(request);
    made.controls.push(view.getUint32(GUEST_DEBUG.control, true));
    made.dr = Array.from({ length: 8 }, (_, i) => view.getBigUint64(GUEST_DEBUG.debugreg + 8 * i, true));
    return 0;
  });
  calls.answers.set(KVM.SET_DEBUGREGS, (registers) => {
    made.guestDr6 = viewOf(registers).getBigUint64(DEBUGREGS.dr6, true);
    return 0;
  });
  return made;
}

const debugExit = (exception: number, pc: number, dr6 = 0n): ((run: DataView) => number) =>
  exitWith(EXIT.DEBUG, (run) => {
    run.setUint32(RUN.debug_exception, exception, true);
    run.setBigUint64(RUN.debug_pc, BigInt(pc), true);
    run.setBigUint64(RUN.debug_dr6, dr6, true);
  });

describe("a hardware breakpoint", () => {
  it("is in the debug registers, and stops the run with its address", () => {
    const r = rig(debugExit(DB, CODE + 4, 2n));
    r.vcpu.debug({
      hardware: [
        { on: "write", address: 0x2000n, bytes: 4 },
        { on: "instruction", address: BigInt(CODE + 4) },
        { on: "access", address: 0x3008n, bytes: 8 },
      ],
    });
    expect(r.vcpu.run(1000)).toEqual({ reason: "debug", stop: { kind: "breakpoint", address: BigInt(CODE + 4) } });
    expect(r.controls).toEqual([ENABLE_HARDWARE]);
    expect(r.dr.slice(0, 3)).toEqual([0x2000n, BigInt(CODE + 4), 0x3008n]);
    // DR7 (SDM vol. 3, 17.2.4): G0-G2; LEN 4 and write, execute, LEN 8 and read or write.
    expect(r.dr[7]).toBe(0x0b0d_042an);
  });

  it("is gone past by a step with the watchpoints alone", () => {
    const r = rig(debugExit(DB, CODE, 2n), (run) => {
      expect(r.dr[1]).toBe(0n);
      r.rip = CODE + 1;
      return debugExit(DB, CODE + 1, BS)(run);
    });
    r.vcpu.debug({
      hardware: [
        { on: "write", address: 0x2000n },
        { on: "instruction", address: BigInt(CODE) },
      ],
    });
    r.rip = CODE - 1;
    expect(r.vcpu.run(1000).reason).toBe("debug");
    r.rip = CODE;
    expect(r.vcpu.run(1000)).toEqual({ reason: "budget" });
    expect(r.controls).toEqual([ENABLE_HARDWARE, STEP_WITH_HARDWARE, GUEST_DEBUG.ENABLE, ENABLE_HARDWARE]);
  });

  it("is gone past although the time was up before", () => {
    const r = rig(() => -ERRNO.EINTR, debugExit(DB, CODE + 1, BS));
    r.vcpu.debug({ hardware: [{ on: "instruction", address: BigInt(CODE) }] });
    expect(r.vcpu.run(1000).reason).toBe("debug");
    expect(r.vcpu.run(1000)).toEqual({ reason: "budget" });
    r.calls.runs[0] = (run) => {
      r.rip = CODE + 1;
      return debugExit(DB, CODE + 1, BS)(run);
    };
    expect(r.vcpu.run(1000)).toEqual({ reason: "budget" });
  });
});

describe("a software breakpoint", () => {
  it("stands in memory while the guest runs, and stops the run", () => {
    const r = rig((run) => {
      expect(r.engine.memory.read8(CODE + 2)).toBe(0xcc);
      return debugExit(BP, CODE + 2)(run);
    });
    r.engine.memory.write8(CODE + 2, 0x90);
    r.vcpu.debug({ software: [BigInt(CODE + 2), 0x7000_0000n] });
    expect(r.vcpu.run(1000)).toEqual({ reason: "debug", stop: { kind: "breakpoint", address: BigInt(CODE + 2) } });
    expect(r.engine.memory.read8(CODE + 2)).toBe(0x90);
  });

  it("is not put back where the guest has written meanwhile", () => {
    const r = rig(() => {
      r.engine.memory.write8(CODE + 2, 0xf4);
      return -ERRNO.EINTR;
    });
    r.vcpu.debug({ software: [BigInt(CODE + 2)] });
    r.vcpu.run(1000);
    expect(r.engine.memory.read8(CODE + 2)).toBe(0xf4);
  });
});

describe("what is not the debugger's", () => {
  it("goes to the guest: its INT3", () => {
    const r = rig(debugExit(BP, CODE + 8), () => -ERRNO.EINTR);
    r.vcpu.debug({ software: [BigInt(CODE + 2)] });
    expect(r.vcpu.run(1000)).toEqual({ reason: "budget" });
    expect(r.controls[1]).toBe(GUEST_DEBUG.ENABLE | GUEST_DEBUG.INJECT_BP);
  });

  it("goes to the guest: its single steps, with DR6", () => {
    const r = rig(debugExit(DB, CODE + 8, BS), () => -ERRNO.EINTR);
    r.vcpu.debug({ hardware: [{ on: "write", address: 0x2000n }] });
    expect(r.vcpu.run(1000)).toEqual({ reason: "budget" });
    expect(r.controls[1]).toBe(GUEST_DEBUG.ENABLE | GUEST_DEBUG.INJECT_DB);
    expect(r.guestDr6 & BS).toBe(BS);
  });
});

describe("a single step", () => {
  it("is armed again for each run, and interrupts wait", () => {
    const r = rig(debugExit(DB, CODE + 1, BS), debugExit(DB, CODE + 2, BS));
    r.vcpu.debug({ singleStep: true });
    r.vcpu.requestInterrupt(true);
    for (let i = 0; i < 2; i++) expect(r.vcpu.run(1000)).toEqual({ reason: "debug", stop: { kind: "step" } });
    expect(r.controls).toEqual([STEP, GUEST_DEBUG.ENABLE, STEP, GUEST_DEBUG.ENABLE]);
    expect(r.calls.run.getUint8(RUN.request_interrupt_window)).toBe(0);
    r.vcpu.debug(undefined);
    expect(r.controls.at(-1)).toBe(0);
    expect(r.vcpu.run(1000)).toEqual({ reason: "interrupt-window" });
  });

  it("ends behind a store to a device, where KVM does not stop", () => {
    const store = exitWith(EXIT.IO, (run) => {
      run.setUint8(RUN.io_direction, IO_DIRECTION_OUT);
      run.setUint8(RUN.io_size, 1);
      run.setUint32(RUN.io_count, 1, true);
      run.setBigUint64(RUN.io_data_offset, 4096n, true);
    });
    const immediate: number[] = [];
    const r = rig(store, (run) => {
      immediate.push(run.getUint8(RUN.immediate_exit));
      return -ERRNO.EINTR;
    });
    r.vcpu.debug({ singleStep: true });
    expect(r.vcpu.run(1000)).toEqual({ reason: "debug", stop: { kind: "step" } });
    expect(immediate).toEqual([1]);
  });
});
